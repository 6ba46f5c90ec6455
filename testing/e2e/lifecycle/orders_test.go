package lifecycle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// wantProblem wants a request to be refused with a code.
func wantProblem(t *testing.T, n *testcluster.Node, path string, body any, status int, code string) {
	t.Helper()
	r := n.MustDo(t, "POST", path, body)
	var p testcluster.Problem
	if err := r.JSON(&p); err != nil || r.Status != status || p.Code != code || p.Detail == "" {
		t.Errorf("POST %s at %s: %s, want %d %s", path, n.ID, r, status, code)
	}
}

func remove(id string) string { return "/v1/cluster/nodes/" + id + "/remove" }

const (
	transfer = "/v1/cluster/transfer-leadership"
	drain    = "/v1/cluster/drain"
)

// TestOrders transfers, drains and removes under load, down to one node.
func TestOrders(t *testing.T) {
	c := testcluster.Start(t, 3)
	c.PurchaseEach("busy", 200)
	l := start(t, c.Nodes)

	at := c.Leader()
	other := c.Nodes[(at+1)%3]
	began := time.Now()
	if out := c.Nodes[(at+2)%3].MustVerb(t, "cluster", "transfer-leadership", "--to", other.ID); !strings.Contains(out, other.ID) {
		t.Errorf("transferred to %s: %s", other.ID, out)
	}
	testcluster.Eventually(t, 10*time.Second, "all know the new leader", func() error {
		for _, n := range c.Nodes {
			if s := n.Status(t); s.Leader == nil || *s.Leader != other.ID {
				return fmt.Errorf("%s names %v", n.ID, s.Leader)
			}
		}
		return nil
	})
	t.Logf("leadership transferred in %.2f s", time.Since(began).Seconds())
	c.WaitReady()
	c.Nodes[0].MustVerb(t, "cluster", "transfer-leadership") // to whom it may
	c.WaitReady()
	wantProblem(t, c.Nodes[0], transfer, `{"to":"n9"}`, 404, "unknown_node")
	wantProblem(t, c.Nodes[0], transfer, `{"to":"n 9"}`, 400, "invalid_request")
	wantProblem(t, c.Nodes[0], transfer, `{"id":"n1"}`, 400, "invalid_request")
	wantProblem(t, c.Nodes[0], remove("n9"), nil, 404, "unknown_node")
	wantProblem(t, c.Nodes[0], remove("n%209"), nil, 400, "invalid_request")

	// A drained node owns nothing, says so, and answers by asking others.
	n1 := c.Nodes[0]
	began = time.Now()
	n1.MustVerb(t, "cluster", "drain")
	if s := n1.MustDo(t, "GET", "/readyz?verbose", nil); s.Status != 503 || !strings.Contains(s.String(), "[-]draining") {
		t.Errorf("a drained node is ready: %s", s)
	}
	testcluster.Eventually(t, 10*time.Second, "nobody gives it any", func() error {
		r := c.Nodes[1].Status(t)
		if got := r.Node("n1").Partitions; got != 0 || r.Unowned > 0 || r.Moving > 0 {
			return fmt.Errorf("it owns %d, unowned %d, moving %d", got, r.Unowned, r.Moving)
		}
		return nil
	})
	t.Logf("drained in %.2f s", time.Since(began).Seconds())
	if d := n1.Check(t, testcluster.Check{Account: "busy-1", Category: "llm"}); d.DecidedBy == "n1" {
		t.Errorf("a drained node decided: %s", d.Reply)
	}
	if code := c.Stop(0); code != 0 {
		t.Errorf("exit code %d", code)
	}
	c.Restart(0)
	c.WaitReady()

	// A removed node's partitions go to the others, and its process ends.
	began = time.Now()
	n1.MustVerb(t, "cluster", "remove", "n3")
	took := time.Since(began)
	waitRemoved(t, c.Nodes[2], 1)
	t.Logf("removed in %.2f s, its process ended %.2f s after the order", took.Seconds(), time.Since(began).Seconds())
	c.Nodes = c.Nodes[:2]
	c.WaitReady()
	if s := n1.Status(t); s.Node("n3") != nil && s.Node("n3").Voter {
		t.Errorf("the removed node is still a member: %+v", s.Node("n3"))
	}
	t.Log("until then: " + l.end(t, n1))
	if r := n1.MustDo(t, "POST", remove("n2"), nil); r.Status != 200 {
		t.Fatal(r)
	}
	c.Nodes = c.Nodes[:1]
	c.WaitReady()
	wantProblem(t, n1, remove("n1"), nil, 409, "last_node")
	wantProblem(t, n1, transfer, nil, 409, "last_node")
	wantProblem(t, n1, drain, nil, 409, "last_node")
	n1.Purchase(t, "alone", "k", "5")
}

// waitRemoved waits until a process has ended and said why, so many times.
func waitRemoved(t *testing.T, n *testcluster.Node, times int) {
	t.Helper()
	n.WaitEnd(t)
	if log := n.LogTail(50); strings.Count(log, "quorate: node "+n.ID+" failed: this node was removed from the cluster by order; to take part again") != times {
		t.Errorf("it does not say why, %d times:\n%s", times, log)
	}
}

// TestARemovedNodeStaysOut: one that was down when it was removed learns of it
// when it comes back.
func TestARemovedNodeStaysOut(t *testing.T) {
	c := testcluster.Start(t, 3)
	at := c.Leader()
	c.Kill(at)
	c.WaitReady()
	gone := c.Take(at)
	rest := c.Nodes
	// The other two are a majority of the three, but neither alone is one of the
	// two that would stay.
	wantProblem(t, rest[0], remove(rest[1].ID), nil, 409, "quorum_loss")
	began := time.Now()
	rest[0].MustVerb(t, "cluster", "remove", gone.ID)
	t.Logf("a dead leader removed in %.2f s", time.Since(began).Seconds())
	c.WaitReady()
	for boot := range 2 {
		c.StartNode(gone)
		waitRemoved(t, gone, boot+1)
	}
	c.WaitReady()
	for _, n := range rest {
		if k := n.Status(t).Node(gone.ID); k != nil && (k.Voter || k.Partitions > 0) {
			t.Errorf("%s has it back: %+v", n.ID, k)
		}
	}
	rest[0].Purchase(t, "acme", "k", "5")
}
