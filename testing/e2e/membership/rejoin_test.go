package membership

import (
	"testing"

	"quorate/testing/testcluster"
)

// TestWhoWasToldOfNobodyAlive comes back by itself, once there is somebody.
func TestWhoWasToldOfNobodyAlive(t *testing.T) {
	c := testcluster.Start(t, 3)
	for i := range c.Nodes {
		c.Kill(i)
	}
	// The third asks the second, which asks the first, which asks nobody.
	c.Nodes[0].Set("join", "")
	c.Nodes[1].Set("join", testcluster.GossipAddrs(c.Nodes[0]))
	c.Nodes[2].Set("join", testcluster.GossipAddrs(c.Nodes[1]))
	for _, at := range []int{2, 1, 0} {
		c.Restart(at)
		testcluster.Eventually(t, patience, "it answers", func() error {
			_, err := c.Nodes[at].Do(t.Context(), "GET", "/livez", nil)
			return err
		})
	}
	c.WaitReady()
	wantOne(t, c, 3)
}
