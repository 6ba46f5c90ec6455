package lifecycle

import (
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// TestMajorityLost loses two of three disks for good, under load. The third goes
// on with all that was acknowledged, and new nodes join it.
func TestMajorityLost(t *testing.T) {
	c := testcluster.Start(t, 3)
	c.PurchaseEach("busy", 200)
	l := start(t, c.Nodes)
	l.untilWritten(t, 100)
	l.load.Stop()
	// What is acknowledged is on a majority; on the one that is left when it has
	// been told: the others may not be lost before.
	left := c.Nodes[0]
	index := c.Nodes[1].MustDo(t, "GET", "/v1/cluster", nil, testcluster.Strong).Index()
	if r := left.MustDo(t, "GET", "/v1/cluster", nil, testcluster.MinIndex(index)); r.Status != 200 {
		t.Fatal(r)
	}
	was := content(t, left)
	before := left.Status(t)

	began := time.Now()
	for i := 1; i <= 2; i++ {
		c.Kill(i)
		c.Nodes[i].Wipe(t)
	}
	if r := left.MustDo(t, "GET", "/v1/cluster", nil, testcluster.Strong); r.Status != 503 {
		t.Fatalf("a strong read without a majority: %s", r)
	}
	if out := testcluster.Run(t, time.Minute, "recover", "--data-dir", left.DataDir); out.Code != 1 || !strings.Contains(out.Stderr, "another process is using it") {
		t.Fatalf("recover beside the running node: %+v", out)
	}
	c.Kill(0)
	look := testcluster.Run(t, time.Minute, "recover", "--data-dir", left.DataDir)
	if look.Code != 0 || !strings.Contains(look.Stdout, "nothing was changed; with --yes the cluster will be n1, and removed for good: n2, n3") {
		t.Fatalf("looked: %+v", look)
	}
	if out := testcluster.Run(t, time.Minute, "recover", "--data-dir", left.DataDir, "--with", "n9"); out.Code != 1 || !strings.Contains(out.Stderr, "n9: no such node") {
		t.Fatalf("with a stranger: %+v", out)
	}
	out := testcluster.Run(t, time.Minute, "recover", "--data-dir", left.DataDir, "--yes")
	if out.Code != 0 || !strings.Contains(out.Stdout, "recovered: the cluster is n1; removed for good: n2, n3") {
		t.Fatalf("recovered: %+v", out)
	}

	c.Nodes = c.Nodes[:1]
	c.Restart(0)
	c.WaitReady()
	t.Logf("two disks lost, the third serves alone after %.1f s", time.Since(began).Seconds())
	if now := content(t, left); now.Content != was.Content {
		t.Errorf("content %s, before the loss %s", now.Content, was.Content)
	}
	after := left.Status(t)
	if after.ClusterID != before.ClusterID || after.Epoch < before.Epoch+1_000_000 || len(after.Nodes) != 1 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	// end counts on what l has seen acknowledged.
	l.nodes = c.Nodes
	t.Log("before the loss: " + l.end(t, left))

	for _, id := range []string{"n4", "n5"} {
		c.Add(id)
		c.Restart(len(c.Nodes) - 1)
	}
	c.WaitReady()
	t.Logf("two new nodes have joined after %.1f s", time.Since(began).Seconds())
	wantEqual(t, c)
	c.WaitVoters(3)
	c.WaitReady()
	t.Logf("all three vote after %.1f s", time.Since(began).Seconds())
	// One more may go now.
	c.Nodes[1].Purchase(t, "acme", "k", "5")
	c.Kill(0)
	c.WaitReady()
	c.Nodes[2].Purchase(t, "acme", "k2", "5")
}

// TestTheLostComeBack: nodes that were given up with their data must not take
// part again, alone or together.
func TestTheLostComeBack(t *testing.T) {
	c := testcluster.Start(t, 3)
	c.PurchaseEach("acct", 100)
	for i := range c.Nodes {
		c.Kill(i)
	}
	left, lost := c.Nodes[2], c.Nodes[:2]
	out := testcluster.Run(t, time.Minute, "recover", "--data-dir", left.DataDir, "--yes")
	if out.Code != 0 {
		t.Fatalf("recovered: %+v", out)
	}
	c.Nodes = c.Nodes[2:]
	c.Restart(0)
	c.WaitReady()
	left.Purchase(t, "since", "k", "5")
	for _, n := range lost {
		c.StartNode(n)
	}
	for _, n := range lost {
		waitRemoved(t, n, 1)
	}
	c.WaitReady()
	if a := left.Account(t, "since"); a.LifetimeSpend != "5.00" {
		t.Errorf("%+v", a)
	}
}
