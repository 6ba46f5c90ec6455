package membership

import (
	"errors"
	"strings"
	"testing"

	"quorate/testing/testcluster"
)

// TestNodesThatExpectDifferentlyFoundNothing: until the operator has mended it.
func TestNodesThatExpectDifferentlyFoundNothing(t *testing.T) {
	c := testcluster.New(t, 3)
	c.Nodes[1].Set("bootstrap-expect", "5")
	for i := range c.Nodes {
		c.Restart(i)
	}
	for _, n := range c.Nodes {
		n.WaitLog(t, "the nodes disagree")
		if r := n.MustDo(t, "GET", "/readyz", nil); r.Status != 503 {
			t.Errorf("%s is ready: %s", n.ID, r)
		}
	}
	c.Kill(1)
	c.Nodes[1].Set("bootstrap-expect", "3")
	c.Restart(1)
	c.WaitReady()
	wantOne(t, c, 3)
}

// TestANodeWithDataIsNoFounder: it has a cluster already, which the others enter,
// though they were told to found one with it.
func TestANodeWithDataIsNoFounder(t *testing.T) {
	c := testcluster.New(t, 3)
	first := c.Nodes[0]
	first.Set("bootstrap-expect", "1")
	first.Set("join", "")
	all := c.Nodes
	c.Nodes = all[:1]
	c.Restart(0)
	c.WaitReady()
	id := first.Status(t).ClusterID
	first.Purchase(t, "before", "k", "5")
	c.Kill(0)
	first.Set("bootstrap-expect", "3")
	first.Set("join", testcluster.GossipAddrs(all[1:]...))
	c.Nodes = all
	for _, at := range []int{1, 2, 0} { // the fresh ones see one another first
		c.Restart(at)
	}
	c.WaitReady()
	wantOne(t, c, 3)
	if got := first.Status(t).ClusterID; got != id {
		t.Errorf("cluster %s, was %s", got, id)
	}
	c.WaitVoters(3)
	if a := all[2].Account(t, "before"); a.LifetimeSpend != "5.00" {
		t.Errorf("%+v", a)
	}
}

// TestMoreNodesThanFounders: all start at once, as an orchestrator has it.
func TestMoreNodesThanFounders(t *testing.T) {
	c := testcluster.New(t, 5)
	for i := range c.Nodes {
		c.Nodes[i].Set("bootstrap-expect", "3")
		c.Restart(i)
	}
	c.WaitReady()
	wantOne(t, c, 5)
	c.WaitVoters(3)
}

// TestACrashWhileFounding: whoever is killed whenever, there is one cluster in
// the end, and nobody takes a half-founded node for one that has lost its disk.
func TestACrashWhileFounding(t *testing.T) {
	for at := range 3 {
		c := testcluster.New(t, 3)
		for i := range c.Nodes {
			c.Restart(i)
		}
		for boot := range 3 {
			testcluster.Eventually(t, patience, "it serves", func() error {
				if strings.Count(c.Nodes[at].Log(t), "msg=serving") <= boot {
					return errors.New("not yet")
				}
				return nil
			})
			c.Kill(at)
			c.Restart(at)
		}
		c.WaitReady()
		wantOne(t, c, 3)
		for i := range c.Nodes {
			c.Kill(i)
		}
	}
}
