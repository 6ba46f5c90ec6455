package lifecycle

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// patience is how long a client goes on asking for one thing.
const patience = 20 * time.Second

// traffic are clients that check and write until they are stopped. A client asks
// the next node when one refuses the connection or answers 503, with the same key.
type traffic struct {
	nodes  []*testcluster.Node
	stop   context.CancelFunc
	wg     sync.WaitGroup
	checks atomic.Int64
	again  atomic.Int64 // checks that were asked at another node

	mu      sync.Mutex
	failed  []string         // guarded by mu
	written map[string]int64 // entries acknowledged, by account; guarded by mu
	slowest time.Duration    // of the writes, with all their retries; guarded by mu
}

func start(t *testing.T, nodes []*testcluster.Node) *traffic {
	ctx, cancel := context.WithCancel(t.Context())
	l := &traffic{nodes: nodes, stop: cancel, written: map[string]int64{}}
	for w := range 2 * len(nodes) {
		l.wg.Go(func() { l.check(ctx, w) })
	}
	for w := range 2 {
		l.wg.Go(func() { l.write(ctx, w) })
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

func (l *traffic) check(ctx context.Context, w int) {
	for i := 0; ctx.Err() == nil; i++ {
		r, tries, err := l.ask(w, "/v1/check", testcluster.Check{Account: fmt.Sprintf("busy-%d", i%200), Category: "llm"})
		l.checks.Add(1)
		l.again.Add(int64(min(tries, 1)))
		// A check has one more node to go to for each: it is not to be refused by
		// all of them.
		if err != nil || r.Status != 200 && r.Status != 429 || tries >= len(l.nodes) {
			l.fail("check", tries, r, err)
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (l *traffic) write(ctx context.Context, w int) {
	account := fmt.Sprintf("writer-%d", w)
	for i := 0; ctx.Err() == nil; i++ {
		began := time.Now()
		r, tries, err := l.ask(i, "/v1/accounts/"+account+"/ledger", testcluster.Entry{Key: fmt.Sprintf("k%d", i), Type: "purchase", Amount: "1"})
		if err != nil || r.Status != 200 {
			l.fail("write", tries, r, err)
			continue
		}
		l.mu.Lock()
		l.written[account]++
		l.slowest = max(l.slowest, time.Since(began))
		l.mu.Unlock()
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// untilWritten waits until so many more entries are acknowledged.
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

func (l *traffic) fail(what string, tries int, r *testcluster.Reply, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, fmt.Sprintf("%s after %d tries: %v %v", what, tries, r, err))
}

// end stops the clients. Nothing may have failed, and what was acknowledged is
// there, once.
func (l *traffic) end(t *testing.T, n *testcluster.Node) string {
	t.Helper()
	l.stop()
	l.wg.Wait()
	if len(l.failed) > 0 {
		t.Errorf("%d of %d checks and the writes failed: %s", len(l.failed), l.checks.Load(), l.failed[0])
	}
	total := int64(0)
	for account, count := range l.written {
		total += count
		got := n.Account(t, account, strong)
		if want := fmt.Sprintf("%d.00", count); got.LifetimeSpend != want {
			t.Errorf("%s spent %s, acknowledged were %s", account, got.LifetimeSpend, want)
		}
	}
	return fmt.Sprintf("%d checks (%d asked another node), %d writes, the slowest %s with its retries; %d failed",
		l.checks.Load(), l.again.Load(), total, l.slowest.Round(time.Millisecond), len(l.failed))
}

// strong asks for a linearizable answer.
func strong(r *testcluster.Request) {
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		r.URL.RawQuery = "consistency=strong"
	}
}
