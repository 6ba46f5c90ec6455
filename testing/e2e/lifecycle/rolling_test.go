package lifecycle

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// exitWithin is how long a node may take to leave after SIGTERM.
const exitWithin = 15 * time.Second

// restart stops a node in order, changes it if it is to, and starts it again.
// It returns how long the stop took.
func restart(t *testing.T, c *testcluster.Cluster, i int, change func(n *testcluster.Node)) time.Duration {
	t.Helper()
	n := c.Nodes[i]
	led := c.Leader() == i
	began := time.Now()
	code := c.Stop(i)
	took := time.Since(began)
	if code != 0 || took > exitWithin {
		t.Errorf("%s: exit code %d after %s, want 0 within %s", n.ID, code, took, exitWithin)
	}
	// That the others have a leader soon does not tell: they would elect one.
	if log := n.LogTail(10); led && (programBefore == "" || n.Program != programBefore) && (!strings.Contains(log, "transferring leadership") || strings.Contains(log, "leadership was not transferred")) {
		t.Errorf("%s led and has not transferred leadership:\n%s", n.ID, log)
	}
	other := c.Nodes[(i+1)%len(c.Nodes)]
	var s testcluster.Status
	testcluster.Eventually(t, 10*time.Second, "a leader answers", func() error {
		r := other.MustDo(t, "GET", "/v1/cluster", nil, testcluster.Strong)
		if r.Status != 200 {
			return fmt.Errorf("%s", r) // it is just being elected
		}
		return r.JSON(&s)
	})
	if k := s.Node(n.ID); k == nil || !k.Voter {
		t.Errorf("%s is no member any more: %+v", n.ID, k)
	} else if k.Partitions > 0 {
		t.Errorf("%s has left %d partitions behind", n.ID, k.Partitions)
	}
	if change != nil {
		change(n)
	}
	c.StartNode(n)
	c.WaitReady()
	return took
}

// TestRollingRestart restarts each node of a cluster under load, the leader
// first and the leader last.
func TestRollingRestart(t *testing.T) {
	c := testcluster.Start(t, 3)
	c.PurchaseEach("busy", 200)
	l := start(t, c.Nodes)
	began := time.Now()
	var stops []string
	for _, first := range []int{c.Leader(), c.Leader() + 1} {
		for k := range c.Nodes {
			i := (first + k) % len(c.Nodes)
			l.untilWritten(t, 20)
			took := restart(t, c, i, nil)
			stops = append(stops, fmt.Sprintf("%.1f s", took.Seconds()))
		}
	}
	l.untilWritten(t, 20)
	t.Logf("six restarts in %.1f s, stopped within %s: %s", time.Since(began).Seconds(), strings.Join(stops, ", "), l.end(t, c.Nodes[0]))
	wantEqual(t, c)
}

// TestRollingUpgrade goes from a program that knows the first commands only to
// this one. A new command is refused until every node knows it; an old program
// that comes back afterwards stops.
func TestRollingUpgrade(t *testing.T) {
	program, env := testcluster.FaultBinary(t), []string{testcluster.Inject("commands1")}
	downgrade := func(n *testcluster.Node) { n.Program, n.Env = program, env }
	upgrade := func(n *testcluster.Node) { n.Program, n.Env = "", nil }
	c := testcluster.New(t, 3)
	for i, n := range c.Nodes {
		downgrade(n)
		c.Restart(i)
	}
	c.WaitReady()
	c.PurchaseEach("busy", 200)
	file := t.TempDir() + "/cluster.backup"
	c.Nodes[0].MustVerb(t, "backup", file)
	refused := func(what string) {
		t.Helper()
		out := c.Nodes[0].Verb(t, "restore", file)
		if out.Code != 1 || !strings.Contains(out.Stderr, "upgrade_unfinished") {
			t.Errorf("%s: %+v", what, out)
		}
		c.WaitReady() // and nothing is left under way
	}
	refused("all are old")

	l := start(t, c.Nodes)
	began := time.Now()
	at := c.Leader()
	for k := 1; k <= 2; k++ { // the followers first
		restart(t, c, (at+k)%3, upgrade)
		l.untilWritten(t, 20)
		refused(fmt.Sprintf("%d of three are new", k))
	}
	restart(t, c, at, upgrade)
	l.untilWritten(t, 20)
	t.Logf("upgraded in %.1f s: %s", time.Since(began).Seconds(), l.end(t, c.Nodes[0]))
	testcluster.Eventually(t, 10*time.Second, "the new command is in force", func() error {
		out := c.Nodes[0].Verb(t, "restore", file)
		if out.Code != 0 {
			return fmt.Errorf("%+v", out)
		}
		return nil
	})
	r := restore(t, c.Nodes[0], file, "--dry-run")
	if now := wantEqual(t, c); now.Content != r.Content {
		t.Errorf("the nodes hold %s, the backup %s", now.Content, r.Content)
	}

	// Back with one node: it must not go on with what it cannot read.
	i := (c.Leader() + 1) % 3
	if code := c.Stop(i); code != 0 {
		t.Errorf("exit code %d", code)
	}
	n := c.Nodes[i]
	downgrade(n)
	c.StartNode(n)
	n.WaitEnd(t)
	if log := n.LogTail(20); !strings.Contains(log, "this program is older than its cluster and must be upgraded") {
		t.Errorf("it does not say why:\n%s", log)
	}
	upgrade(n)
	c.StartNode(n)
	c.WaitReady()
	wantEqual(t, c)

	// Nor does one join.
	late := c.Add("n4")
	downgrade(late)
	c.StartNode(late)
	c.Nodes = c.Nodes[:3]
	testcluster.Eventually(t, 30*time.Second, "the leader says why it keeps an old program out", func() error {
		if log := c.Nodes[c.Leader()].LogTail(100); !strings.Contains(log, "a node may not join: its program is older than the cluster's commands") {
			return fmt.Errorf("nothing of it")
		}
		return nil
	})
	c.WaitReady()
	if k := c.Nodes[0].Status(t).Node("n4"); k != nil && k.Partitions > 0 {
		t.Errorf("it takes part: %+v", k)
	}
	upgrade(late)
	c.Nodes = append(c.Nodes, late)
	if code := c.Stop(3); code != 0 {
		t.Errorf("exit code %d", code)
	}
	c.StartNode(late)
	c.WaitReady()
}
