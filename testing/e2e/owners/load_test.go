package owners

import (
	"context"
	"fmt"
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

// load asks nodes until it is stopped.
type load struct {
	nodes  []*testcluster.Node
	hot    []*account
	cold   []string
	asked  atomic.Int64
	judged atomic.Int64 // decided by someone other than the owner
	again  atomic.Int64 // at another node, because one was not there
	absent sync.Map     // nodes that go down on purpose, by id

	mu      sync.Mutex
	slow    []time.Duration // of all checks at nodes that are not hurt; guarded by mu
	failed  []string        // guarded by mu
	stopped context.CancelFunc
	wg      sync.WaitGroup
}

// start has workers ask each of the nodes in turn, half of the checks about hot
// accounts.
func start(t *testing.T, nodes []*testcluster.Node, hot []*account, cold []string, workers int) *load {
	l := &load{nodes: nodes, hot: hot, cold: cold}
	ctx, cancel := context.WithCancel(t.Context())
	l.stopped = cancel
	for i := range nodes {
		for w := range workers {
			l.wg.Go(func() { l.work(ctx, i, rand.New(rand.NewPCG(uint64(i), uint64(w)))) })
		}
	}
	return l
}

func (l *load) stop() {
	l.stopped()
	l.wg.Wait()
}

func (l *load) work(ctx context.Context, at int, rng *rand.Rand) {
	for ctx.Err() == nil {
		var a *account
		name := l.cold[rng.IntN(len(l.cold))]
		if len(l.hot) > 0 && rng.IntN(2) == 0 {
			a = l.hot[rng.IntN(len(l.hot))]
			name = a.name
		}
		l.ask(ctx, at, name, a)
		select {
		case <-time.After(time.Duration(rng.IntN(2000)) * time.Microsecond):
		case <-ctx.Done():
		}
	}
}

// ask makes one check. A node that goes down on purpose, or starts, may refuse:
// its clients ask the next.
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
	if err != nil {
		l.failed = append(l.failed, fmt.Sprintf("at %s: %v", l.nodes[at].ID, err))
	}
	l.mu.Unlock()
	if err != nil {
		return
	}
	if d.Degraded {
		l.judged.Add(1)
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

// wantNone reports checks that failed.
func (l *load) wantNone(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.failed); n > 0 {
		t.Errorf("%d of %d checks got no decision; the first: %s", n, l.asked.Load(), l.failed[0])
	}
}

// accounts buys into tier 1 for so many new accounts, in bulk.
func accounts(t *testing.T, n *testcluster.Node, prefix string, count int) (names []string) {
	t.Helper()
	var entries []testcluster.Entry
	for i := range count {
		name := fmt.Sprintf("%s-%d", prefix, i)
		names = append(names, name)
		entries = append(entries, testcluster.Entry{Account: name, Key: "k", Type: "purchase", Amount: "5"})
		if len(entries) == 1000 || i == count-1 {
			if r := n.MustDo(t, "POST", "/v1/ledger", map[string]any{"entries": entries}); r.Status != 200 {
				t.Fatal(r)
			}
			entries = nil
		}
	}
	return names
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
