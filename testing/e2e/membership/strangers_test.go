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
		set(n, "join", gossip(append(append([]*testcluster.Node(nil), b.Nodes...), a.Nodes...)...))
		b.Restart(i)
		b.WaitReady()
	}
	waitLog(t, b.Nodes[0], "of another cluster is kept out")
	waitLog(t, a.Nodes[0], "of another cluster is kept out")
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
	set(lost, "join", gossip(a.Nodes[0], b.Nodes[0]))
	b.Restart(3)
	waitLog(t, lost, "nodes of several clusters are seen")
	if r := lost.MustDo(t, "GET", "/readyz", nil); r.Status != 503 {
		t.Errorf("it is ready: %s", r)
	}
	b.Kill(3)
	set(lost, "join", gossip(b.Nodes[0]))
	b.Restart(3)
	b.WaitReady()
	wantOne(t, b, 4)
}

// TestAWipedDisk: a voter that has forgotten what it acknowledged must not take
// part under its old id.
func TestAWipedDisk(t *testing.T) {
	c := testcluster.Start(t, 3)
	c.Nodes[0].Purchase(t, "acme", "k", "5")
	at := (c.Leader() + 1) % 3
	wiped := c.Nodes[at]
	c.Kill(at)
	wipe(t, wiped)
	c.Restart(at)
	began := time.Now()
	testcluster.Eventually(t, patience, "it ends by itself", func() error {
		if wiped.Running() {
			return errRuns
		}
		return nil
	})
	t.Logf("refused after %.1f s", time.Since(began).Seconds())
	order := []string{"cluster", "remove", wiped.ID}
	if log := wiped.Log(t); !strings.Contains(log, "quorate "+strings.Join(order, " ")) || !strings.Contains(log, "another --node-id") {
		t.Errorf("it does not say what to do:\n%s", wiped.LogTail(5))
	}
	c.Nodes = append(c.Nodes[:at:at], c.Nodes[at+1:]...)
	c.WaitReady()
	c.Nodes[0].Purchase(t, "acme", "k2", "5")

	// What it says is what helps.
	if out := testcluster.Run(t, time.Minute, append(order, "--endpoints", c.Nodes[0].URL)...); out.Code != 0 {
		t.Fatalf("%+v", out)
	}
	c.Add("n4")
	c.Restart(2)
	c.WaitReady()
	waitVoters(t, c, 3)
	if a := c.Nodes[2].Account(t, "acme"); a.LifetimeSpend != "10.00" {
		t.Errorf("%+v", a)
	}
	// The old id stays out, whatever disk it has.
	c.Nodes = append(c.Nodes, wiped)
	wipe(t, wiped)
	c.Restart(3)
	testcluster.Eventually(t, patience, "it ends by itself", func() error {
		if wiped.Running() {
			return errRuns
		}
		return nil
	})
	if log := wiped.LogTail(5); !strings.Contains(log, "was removed from the cluster by order") {
		t.Errorf("it does not say why:\n%s", log)
	}
	c.Nodes = c.Nodes[:3]
	wantOne(t, c, 3)
}

// TestASecondNodeOfOneID: it must not be taken for the first at another address.
func TestASecondNodeOfOneID(t *testing.T) {
	c := testcluster.Start(t, 3)
	was := c.Nodes[0].Status(t)
	second := c.Add("n2")
	second.DataDir += "-second"
	set(second, "data-dir", second.DataDir)
	c.Restart(3)
	testcluster.Eventually(t, patience, "it ends by itself", func() error {
		if second.Running() {
			return errRuns
		}
		return nil
	})
	c.Nodes = c.Nodes[:3]
	c.WaitReady()
	for _, n := range c.Nodes {
		if s := n.Status(t); s.Epoch != was.Epoch || s.Term != was.Term || s.Node("n2").Peer != c.Nodes[1].Peer {
			t.Errorf("%s is at epoch %d, term %d, with n2 at %s; was at %d, %d, %s", n.ID, s.Epoch, s.Term, s.Node("n2").Peer, was.Epoch, was.Term, c.Nodes[1].Peer)
		}
	}
}
