package lifecycle

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// patience is how long a client goes on asking for one thing.
const patience = 20 * time.Second

// traffic is a set of clients that check and write. A client that is refused the
// connection or gets a 503 asks the next node, with the same key.
type traffic struct {
	nodes  []*testcluster.Node
	load   *testcluster.Load
	checks atomic.Int64
	again  atomic.Int64 // checks that were asked at another node

	mu      sync.Mutex
	written map[string]int64 // entries acknowledged, by account; guarded by mu
	slowest time.Duration    // of the writes, with all their retries; guarded by mu
}

func start(t *testing.T, nodes []*testcluster.Node) *traffic {
	l := &traffic{nodes: nodes, load: testcluster.NewLoad(t), written: map[string]int64{}}
	for w := range 2 * len(nodes) {
		i := 0
		l.load.Client(func(context.Context) time.Duration {
			l.check(w, i)
			i++
			return 2 * time.Millisecond
		})
	}
	for w := range 2 {
		i := 0
		l.load.Client(func(context.Context) time.Duration {
			l.write(w, i)
			i++
			return 5 * time.Millisecond
		})
	}
	return l
}

// ask asks one node after the other until one answers other than 503.
func (l *traffic) ask(at int, path string, body any) (r *testcluster.Reply, tries int, err error) {
	for deadline := time.Now().Add(patience); ; tries++ {
		n := l.nodes[(at+tries)%len(l.nodes)]
		r, err = n.Do(context.Background(), "POST", path, body)
		if err == nil && r.Status != 503 {
			return r, tries, nil
		}
		if time.Now().After(deadline) {
			return r, tries, err
		}
		if tries >= len(l.nodes) { // once round: it is not one node
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func (l *traffic) check(w, i int) {
	r, tries, err := l.ask(w, "/v1/check", testcluster.Check{Account: fmt.Sprintf("busy-%d", i%200), Category: "llm"})
	l.checks.Add(1)
	l.again.Add(int64(min(tries, 1)))
	// One node may be away at a time, never all of them.
	if err != nil || r.Status != 200 && r.Status != 429 || tries >= len(l.nodes) {
		l.load.Fail("check after %d tries: %v %v", tries, r, err)
	}
}

func (l *traffic) write(w, i int) {
	account := fmt.Sprintf("writer-%d", w)
	began := time.Now()
	r, tries, err := l.ask(i, "/v1/accounts/"+account+"/ledger", testcluster.Entry{Key: fmt.Sprintf("k%d", i), Type: "purchase", Amount: "1"})
	if err != nil || r.Status != 200 {
		l.load.Fail("write after %d tries: %v %v", tries, r, err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written[account]++
	l.slowest = max(l.slowest, time.Since(began))
}

// untilWritten waits until that many more entries are acknowledged.
func (l *traffic) untilWritten(t *testing.T, more int64) {
	t.Helper()
	count := func() (n int64) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, k := range l.written {
			n += k
		}
		return n
	}
	from := count()
	testcluster.Eventually(t, patience, "entries are written", func() error {
		if n := count() - from; n < more {
			return fmt.Errorf("%d of %d", n, more)
		}
		return nil
	})
}

// end stops the clients. It wants that nothing has failed, and that each acknowledged
// entry was applied once.
func (l *traffic) end(t *testing.T, n *testcluster.Node) string {
	t.Helper()
	l.load.Stop()
	l.load.WantNone(t)
	total := int64(0)
	for account, count := range l.written {
		total += count
		got := n.Account(t, account, testcluster.Strong)
		if want := fmt.Sprintf("%d.00", count); got.LifetimeSpend != want {
			t.Errorf("%s spent %s, acknowledged were %s", account, got.LifetimeSpend, want)
		}
	}
	return fmt.Sprintf("%d checks (%d asked another node), %d writes, the slowest %s with its retries; %d failed",
		l.checks.Load(), l.again.Load(), total, l.slowest.Round(time.Millisecond), len(l.load.Failed()))
}
