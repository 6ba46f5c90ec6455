package lifecycle

import (
	"fmt"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// TestNewAddresses moves one node after the other to new addresses, and then all
// of them at once.
func TestNewAddresses(t *testing.T) {
	c := testcluster.Start(t, 3)
	c.PurchaseEach("busy", 200)
	first := (c.Leader() + 1) % 3
	for k := range c.Nodes {
		i := (first + k) % 3
		began := time.Now()
		if code := c.Stop(i); code != 0 {
			t.Errorf("exit code %d", code)
		}
		c.Move(c.Nodes[i])
		c.Restart(i)
		c.WaitReady()
		wantAddresses(t, c)
		t.Logf("%s at new addresses after %.1f s", c.Nodes[i].ID, time.Since(began).Seconds())
	}
	c.Nodes[0].Purchase(t, "moved", "k", "5")
	for i := range c.Nodes {
		c.Kill(i)
	}
	began := time.Now()
	for i := range c.Nodes {
		c.Move(c.Nodes[i])
	}
	for i := range c.Nodes {
		c.Restart(i)
	}
	c.WaitReady()
	wantAddresses(t, c)
	t.Logf("all at new addresses after %.1f s", time.Since(began).Seconds())
	if a := c.Nodes[1].Account(t, "moved", testcluster.Strong); a.LifetimeSpend != "5.00" {
		t.Errorf("%+v", a)
	}
	c.Nodes[2].Purchase(t, "moved", "k2", "5")
	wantEqual(t, c)
}

// wantAddresses wants every node to name every other as it is now.
func wantAddresses(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	testcluster.Eventually(t, 20*time.Second, "all know the addresses", func() error {
		for _, n := range c.Nodes {
			s := n.Status(t)
			for _, want := range c.Nodes {
				k := s.Node(want.ID)
				if k == nil || k.HTTP != want.HTTP || k.Peer != want.Peer || k.Gossip != want.Gossip || !k.Voter {
					return fmt.Errorf("%s says of %s: %+v", n.ID, want.ID, k)
				}
			}
		}
		return nil
	})
}
