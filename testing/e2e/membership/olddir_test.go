package membership

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// copyDir replaces a directory by a copy of another one.
func copyDir(t *testing.T, to, from string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// wantRefused waits until a node has ended with an error that names what was seen and
// what to do.
func wantRefused(t *testing.T, n *testcluster.Node, texts ...string) {
	t.Helper()
	n.WaitEnd(t)
	if code := n.ExitCode(); code != 1 {
		t.Errorf("%s: exit code %d, want 1", n.ID, code)
	}
	for _, text := range append(texts, "this data directory cannot be used for this node any more", "--node-id and an empty --data-dir") {
		if !strings.Contains(n.LogTail(3), text) {
			t.Errorf("the log of %s does not end with %q:\n%s", n.ID, text, n.LogTail(5))
		}
	}
}

// TestAnOlderDirectory: a voter gets its directory of before back, and the leader dies.
// The node that lacks an acknowledged payment must not elect a leader with another one
// that lacks it too.
func TestAnOlderDirectory(t *testing.T) {
	c := testcluster.Start(t, 3)
	c.Nodes[0].Purchase(t, "acme", "k", "5")
	at := (c.Leader() + 1) % 3
	old := c.Nodes[at]
	saved := filepath.Join(t.TempDir(), "saved")
	if code := c.Stop(at); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	copyDir(t, saved, old.DataDir)
	c.Restart(at)
	c.WaitReady()
	if c.Leader() == at {
		c.Nodes[at].MustVerb(t, "cluster", "transfer-leadership", "--to", c.Nodes[(at+1)%3].ID)
		c.WaitReady()
	}
	leader := c.Leader()
	late := c.Nodes[3-at-leader]
	late.Signal(t, syscall.SIGSTOP)
	c.Nodes[leader].Purchase(t, "acme", "k2", "500") // by the leader and the voter at hand
	time.Sleep(time.Second)
	c.Kill(at)
	copyDir(t, old.DataDir, saved)
	c.Restart(at)
	wantRefused(t, old, "its log ends at index", "quorate cluster remove "+old.ID)
	c.Kill(leader)
	late.Signal(t, syscall.SIGCONT)
	if r := late.MustDo(t, "GET", "/v1/accounts/acme", nil, testcluster.Strong); r.Status == 200 {
		t.Errorf("a strong read without the nodes that know the payment: %s", r)
	}
	// Refused again, by the node that was late: its memory of the other is enough.
	c.Restart(at)
	wantRefused(t, old)
	c.Restart(leader)
	c.Take(at)
	c.WaitReady()
	for _, n := range c.Nodes {
		if a := n.Account(t, "acme", testcluster.Strong); a.LifetimeSpend != "505.00" {
			t.Errorf("%s: %+v", n.ID, a)
		}
	}
}

// TestTwoProcessesOnCopies: the second is refused, the first goes on without a change of
// its partitions.
func TestTwoProcessesOnCopies(t *testing.T) {
	c := testcluster.Start(t, 3)
	c.Nodes[0].Purchase(t, "acme", "k", "5")
	at := (c.Leader() + 1) % 3
	first := c.Nodes[at]
	second := c.Add("copy")
	c.Take(3)
	first.Signal(t, syscall.SIGSTOP) // a copy of one instant
	copyDir(t, second.DataDir, first.DataDir)
	first.Signal(t, syscall.SIGCONT)
	c.WaitReady()
	before := first.Status(t)
	second.Set("node-id", first.ID)
	c.StartNode(second)
	wantRefused(t, second, "another process of node "+first.ID+" answers")
	if !first.Running() {
		t.Fatalf("the first has ended:\n%s", first.LogTail(5))
	}
	c.WaitReady()
	if after := first.Status(t); after.Epoch != before.Epoch || after.Term != before.Term {
		t.Errorf("epoch %d, term %d; before the second process %d and %d", after.Epoch, after.Term, before.Epoch, before.Term)
	}
	first.Purchase(t, "acme", "k2", "5")
	c.Kill(c.Leader())
	c.WaitReady()
	if a := first.Account(t, "acme", testcluster.Strong); a.LifetimeSpend != "10.00" {
		t.Errorf("%+v", a)
	}
}
