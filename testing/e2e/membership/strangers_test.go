package membership

import (
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// TestTwoClustersStayApart: nodes of one that are told to join the other, under
// ids that are there too, change nothing in either.
func TestTwoClustersStayApart(t *testing.T) {
	a, b := testcluster.Start(t, 3), testcluster.Start(t, 3)
	a.Nodes[0].Purchase(t, "of-a", "k", "5")
	b.Nodes[0].Purchase(t, "of-b", "k", "50")
	was := a.Nodes[0].Status(t)
	other := b.Nodes[0].Status(t).ClusterID
	if was.ClusterID == other {
		t.Fatal("both have one id")
	}
	for i, n := range b.Nodes {
		if code := b.Stop(i); code != 0 {
			t.Errorf("exit code %d", code)
		}
		n.Set("join", testcluster.GossipAddrs(append(append([]*testcluster.Node(nil), b.Nodes...), a.Nodes...)...))
		b.Restart(i)
		b.WaitReady()
	}
	b.Nodes[0].WaitLog(t, "of another cluster is kept out")
	a.Nodes[0].WaitLog(t, "of another cluster is kept out")
	for _, c := range []*testcluster.Cluster{a, b} {
		c.WaitReady()
		wantOne(t, c, 3)
	}
	for _, n := range a.Nodes {
		if s := n.Status(t); s.ClusterID != was.ClusterID || s.Epoch != was.Epoch || s.Term != was.Term {
			t.Errorf("%s is at %s, epoch %d, term %d; was at %s, %d, %d", n.ID, s.ClusterID, s.Epoch, s.Term, was.ClusterID, was.Epoch, was.Term)
		}
		if r := n.MustDo(t, "GET", "/v1/accounts/of-b", nil); r.Status != 404 {
			t.Errorf("%s has heard of the other's account: %s", n.ID, r)
		}
	}
	a.Nodes[1].Purchase(t, "of-a", "k2", "5")
	b.Nodes[1].Purchase(t, "of-b", "k2", "5")

	// A new node that sees both chooses neither.
	lost := b.Add("n4")
	lost.Set("join", testcluster.GossipAddrs(a.Nodes[0], b.Nodes[0]))
	b.Restart(3)
	lost.WaitLog(t, "nodes of several clusters are seen")
	if r := lost.MustDo(t, "GET", "/readyz", nil); r.Status != 503 {
		t.Errorf("it is ready: %s", r)
	}
	b.Kill(3)
	lost.Set("join", testcluster.GossipAddrs(b.Nodes[0]))
	b.Restart(3)
	b.WaitReady()
	wantOne(t, b, 4)
}

// TestAWipedDisk: a voter that has lost its disk no longer has what it acknowledged.
// It is refused under its old id, and its log names the commands that replace it.
func TestAWipedDisk(t *testing.T) {
	c := testcluster.Start(t, 3)
	c.Nodes[0].Purchase(t, "acme", "k", "5")
	at := (c.Leader() + 1) % 3
	wiped := c.Nodes[at]
	c.Kill(at)
	wiped.Wipe(t)
	c.Restart(at)
	began := time.Now()
	wiped.WaitEnd(t)
	t.Logf("refused after %.1f s", time.Since(began).Seconds())
	order := []string{"cluster", "remove", wiped.ID}
	if log := wiped.Log(t); !strings.Contains(log, "quorate "+strings.Join(order, " ")) || !strings.Contains(log, "another --node-id") {
		t.Errorf("its log does not name the commands:\n%s", wiped.LogTail(5))
	}
	c.Take(at)
	c.WaitReady()
	c.Nodes[0].Purchase(t, "acme", "k2", "5")

	// The commands of the log help.
	c.Nodes[0].MustVerb(t, order...)
	c.Add("n4")
	c.Restart(2)
	c.WaitReady()
	c.WaitVoters(3)
	if a := c.Nodes[2].Account(t, "acme"); a.LifetimeSpend != "10.00" {
		t.Errorf("%+v", a)
	}
	// The old id stays out, with the disk that was refused and with an empty one.
	for _, wipe := range []bool{false, true} {
		if wipe {
			wiped.Wipe(t)
		}
		c.StartNode(wiped)
		wiped.WaitEnd(t)
		if log := wiped.LogTail(5); !strings.Contains(log, "was removed from the cluster by order") {
			t.Errorf("its log does not name the reason:\n%s", log)
		}
	}
	c.WaitReady()
	wantOne(t, c, 3)
}

// TestASecondNodeOfOneID: it must not be taken for the first at another address.
func TestASecondNodeOfOneID(t *testing.T) {
	c := testcluster.Start(t, 3)
	was := c.Nodes[0].Status(t)
	second := c.Add("n2")
	second.DataDir += "-second"
	second.Set("data-dir", second.DataDir)
	c.Restart(3)
	second.WaitEnd(t)
	c.Nodes = c.Nodes[:3]
	c.WaitReady()
	for _, n := range c.Nodes {
		if s := n.Status(t); s.Epoch != was.Epoch || s.Term != was.Term || s.Node("n2").Peer != c.Nodes[1].Peer {
			t.Errorf("%s is at epoch %d, term %d, with n2 at %s; was at %d, %d, %s", n.ID, s.Epoch, s.Term, s.Node("n2").Peer, was.Epoch, was.Term, c.Nodes[1].Peer)
		}
	}
}
