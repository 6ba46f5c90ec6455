package owners

import (
	"math/rand/v2"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// hotOnes is how many hot accounts a move has.
const hotOnes = 60

// moves is a cluster under load while partitions move on purpose: nothing may
// fail and nothing be admitted too much.
type moves struct {
	c    *testcluster.Cluster
	cold []string
	pool []string
	hot  []*account
	load *load
}

func newMoves(t *testing.T, c *testcluster.Cluster, rounds int) *moves {
	m := &moves{c: c}
	m.cold = c.PurchaseEach("cold", 10_000)
	m.pool = c.PurchaseEach("hot", rounds*hotOnes)
	return m
}

// under loads the cluster while fn runs. Half of the hot buckets are used up
// before.
func (m *moves) under(t *testing.T, what string, nodes []*testcluster.Node, fn func()) {
	t.Helper()
	m.hot = nil
	for range hotOnes {
		m.hot = append(m.hot, &account{name: m.pool[0]})
		m.pool = m.pool[1:]
	}
	for _, a := range m.hot[:6] {
		exhaust(t, nodes[0], a)
	}
	m.load = start(t, nodes, m.hot, m.cold, 4)
	began := time.Now()
	fn()
	took := time.Since(began)
	time.Sleep(300 * time.Millisecond) // what is admitted after it counts too
	m.load.Stop()
	m.load.WantNone(t)
	worst := -1.0 * burst
	for _, a := range m.hot {
		if worst = max(worst, a.over()); a.over() > 1e-6 {
			t.Errorf("%s: %s admitted %.2f too much", what, a.name, a.over())
		}
	}
	t.Logf("%s: %.1f s; over-admitted %.2f; %d checks, %d by fallbacks, %d failed, %d asked again elsewhere; 99.9 %% within %s, the slowest %s", what, took.Seconds(), worst,
		m.load.asked.Load(), m.load.fallback.Load(), len(m.load.Failed()), m.load.again.Load(),
		percentile(m.load.slow, 0.999).Round(time.Millisecond), percentile(m.load.slow, 1).Round(time.Millisecond))
}

// restart stops a node in order and starts it again.
func (m *moves) restart(t *testing.T, i int) {
	t.Helper()
	m.load.absent.Store(m.c.Nodes[i].ID, true)
	if code := m.c.Stop(i); code != 0 {
		t.Errorf("%s: exit code %d", m.c.Nodes[i].ID, code)
	}
	m.c.Restart(i)
	m.c.WaitReady()
	m.load.absent.Delete(m.c.Nodes[i].ID)
}

// TestMovesCostNothing joins a node, drains and restarts one, and then restarts
// all, one after the other.
func TestMovesCostNothing(t *testing.T) {
	c := testcluster.New(t, 4)
	for i := range 3 {
		c.Nodes[i].Args = append(c.Nodes[i].Args, "--bootstrap-expect", "3")
		c.Restart(i)
	}
	c.Nodes[3].Args = append(c.Nodes[3].Args, "--bootstrap-expect", "0")
	all := c.Nodes
	c.Nodes = all[:3]
	c.WaitReady()
	restarts := max(1, *faults/2)
	m := newMoves(t, c, restarts+3)
	m.under(t, "a fourth node joins", all[:3], func() {
		c.Nodes = all
		c.Restart(3)
		c.WaitReady()
	})
	m.under(t, "it leaves, and comes back", all[:3], func() { m.restart(t, 3) })
	for i := range restarts {
		m.under(t, "an owner restarts", c.Nodes, func() { m.restart(t, (c.Leader()+1+i%2)%3) })
	}
	m.under(t, "all restart, one after the other", c.Nodes, func() {
		for _, i := range rand.Perm(len(c.Nodes)) {
			m.restart(t, i)
		}
	})
}
