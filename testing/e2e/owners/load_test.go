package owners

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"quorate/testing/chaos/model"
	"quorate/testing/chaos/validate"
	"quorate/testing/testcluster"
)

// The limit that every account of these tests has: tier 1, category llm.
const (
	burst = 600
	rate  = 10.0 // a second
	slack = burst * 5 / 100
)

// account is one bucket under load.
type account struct {
	name string

	mu     sync.Mutex
	admits []model.Admission // guarded by mu
	owned  time.Time         // of the last decision of an owner's; guarded by mu
}

func (a *account) over() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return validate.Over(a.admits, burst, rate)
}

func (a *account) admitted() (n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.admits {
		n += x.Units
	}
	return n
}

// load is a set of clients that check. Its results are read after Stop.
type load struct {
	*testcluster.Load
	nodes    []*testcluster.Node
	hot      []*account
	cold     []string
	asked    atomic.Int64
	fallback atomic.Int64 // decided by a fallback node
	again    atomic.Int64 // asked at another node, because one was down
	absent   sync.Map     // nodes that a test takes down, by id

	mu   sync.Mutex
	slow []time.Duration // of all checks; guarded by mu
}

// start starts workers clients for each node. Half of the checks are of hot accounts.
func start(t *testing.T, nodes []*testcluster.Node, hot []*account, cold []string, workers int) *load {
	l := &load{Load: testcluster.NewLoad(t), nodes: nodes, hot: hot, cold: cold}
	for i := range nodes {
		for w := range workers {
			rng := rand.New(rand.NewPCG(uint64(i), uint64(w)))
			l.Client(func(ctx context.Context) time.Duration {
				l.next(ctx, i, rng)
				return time.Duration(rng.IntN(2000)) * time.Microsecond
			})
		}
	}
	return l
}

// next makes the next check of a client.
func (l *load) next(ctx context.Context, at int, rng *rand.Rand) {
	var a *account
	name := l.cold[rng.IntN(len(l.cold))]
	if len(l.hot) > 0 && rng.IntN(2) == 0 {
		a = l.hot[rng.IntN(len(l.hot))]
		name = a.name
	}
	l.ask(ctx, at, name, a)
}

// ask makes one check. A node that a test takes down may refuse it: its clients ask
// the next.
func (l *load) ask(ctx context.Context, at int, name string, a *account) {
	asked := time.Now()
	var d *testcluster.Decision
	var err error
	for try := range len(l.nodes) {
		n := l.nodes[(at+try)%len(l.nodes)]
		if d, err = n.Decide(context.WithoutCancel(ctx), testcluster.Check{Account: name, Category: "llm"}); err == nil {
			break
		}
		if _, down := l.absent.Load(n.ID); !down {
			break
		}
		l.again.Add(1)
	}
	answered := time.Now()
	l.asked.Add(1)
	l.mu.Lock()
	l.slow = append(l.slow, answered.Sub(asked))
	l.mu.Unlock()
	if err != nil {
		l.Fail("at %s: %v", l.nodes[at].ID, err)
		return
	}
	if d.Degraded {
		l.fallback.Add(1)
	}
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if d.Allowed {
		a.admits = append(a.admits, admission(asked, answered, 1))
	}
	if !d.Degraded {
		a.owned = answered
	}
}

// ownedBy returns so many of the accounts that the node with the id decides on,
// and takes them from the list.
func ownedBy(t *testing.T, n *testcluster.Node, id string, from *[]string, count int) (out []*account) {
	t.Helper()
	rest := (*from)[:0:0]
	for i, name := range *from {
		if len(out) == count {
			rest = append(rest, (*from)[i:]...)
			break
		}
		if n.Check(t, testcluster.Check{Account: name, Category: "llm", DryRun: true}).DecidedBy == id {
			out = append(out, &account{name: name})
		} else {
			rest = append(rest, name)
		}
	}
	if len(out) < count {
		t.Fatalf("%d accounts of %s, want %d", len(out), id, count)
	}
	*from = rest
	return out
}

// exhaust uses up an account's bucket.
func exhaust(t *testing.T, n *testcluster.Node, a *account) {
	t.Helper()
	for {
		asked := time.Now()
		d := n.Check(t, testcluster.Check{Account: a.name, Category: "llm"})
		if !d.Allowed {
			return
		}
		a.admits = append(a.admits, admission(asked, time.Now(), 1))
	}
}
