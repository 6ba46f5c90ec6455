package e2e

import (
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"quorate/fsm/ledger"
	"quorate/testing/testcluster"
)

// sharedEntry is an entry that several writers send.
type sharedEntry struct {
	account, key string
	amount       ledger.Money

	mu      sync.Mutex
	index   uint64 // of the first answer
	applied int    // answers that were no replay
}

func (e *sharedEntry) answered(got *testcluster.Entered) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !got.Replayed {
		e.applied++
	}
	if e.index == 0 {
		e.index = got.Entry.Index
	}
	if e.index != got.Entry.Index || e.applied > 1 || got.Entry.Amount != e.amount.String() {
		return fmt.Errorf("key %s of %s: %s; before, its index was %d and it was applied %d times", e.key, e.account, got.Reply, e.index, e.applied)
	}
	return nil
}

// retriers are writers that send every entry three times over, each through
// another node, until it is acknowledged.
type retriers struct {
	c        *testcluster.Cluster
	accounts []string
	stop     atomic.Bool
	acked    atomic.Int64
	retried  atomic.Int64

	mu      sync.Mutex
	next    int            // sending; guarded by mu
	entries []*sharedEntry // guarded by mu while writers run
}

const (
	retryWriters = 64
	sendings     = 3 // of each entry
)

// take returns the entry of the next sending.
func (r *retriers) take() (e *sharedEntry, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop.Load() && r.next%sendings == 0 {
		return nil, false // all that were begun have all their sendings
	}
	at := r.next / sendings
	r.next++
	if at == len(r.entries) {
		r.entries = append(r.entries, &sharedEntry{
			account: r.accounts[at%len(r.accounts)], key: fmt.Sprint("key ", at), amount: ledger.Money(1+at%1_000_003) * ledger.Dollar / 1_000_000,
		})
	}
	return r.entries[at], true
}

func (r *retriers) run(t *testing.T, w int) {
	for {
		e, ok := r.take()
		if !ok {
			return
		}
		for try := w; ; try++ {
			node := r.c.Nodes[try%len(r.c.Nodes)]
			got, err := node.Enter(t.Context(), e.account, testcluster.Entry{Key: e.key, Type: "purchase", Amount: e.amount.String()})
			if err == nil {
				if err := e.answered(got); err != nil {
					t.Error(err)
				}
				r.acked.Add(1)
				break
			}
			if t.Context().Err() != nil {
				return
			}
			r.retried.Add(1)
			time.Sleep(20 * time.Millisecond) // a client's pause, nothing is waited for
		}
	}
}

// TestEachKeyOnce: writers that repeat themselves on purpose, and a leader that
// is killed twice, apply each entry once.
func TestEachKeyOnce(t *testing.T) {
	c := testcluster.Start(t, 3)
	r := &retriers{c: c}
	for range 20 {
		r.accounts = append(r.accounts, newAccount(t))
	}
	var wg sync.WaitGroup
	for w := range retryWriters {
		wg.Go(func() { r.run(t, w) })
	}
	for range 2 {
		r.more(t, 1000)
		leader := c.Leader()
		c.Kill(leader)
		r.more(t, 1000)
		c.Restart(leader)
		c.WaitReady()
	}
	r.more(t, 500)
	r.stop.Store(true)
	wg.Wait()

	sums := map[string]ledger.Money{}
	var last uint64
	for _, e := range r.entries {
		sums[e.account] += e.amount
		last = max(last, e.index)
	}
	for _, n := range c.Nodes {
		for account, sum := range sums {
			if a := n.Account(t, account, testcluster.MinIndex(last)); a.LifetimeSpend != sum.String() || a.Credits.Purchased != sum.String() {
				t.Errorf("%s at %s: %s purchased, lifetime spend %s; want %s", account, n.ID, a.Credits.Purchased, a.LifetimeSpend, sum)
			}
		}
		for i := 0; i < len(r.entries); i += 97 {
			e := r.entries[i]
			var got testcluster.Entry
			reply := n.MustDo(t, "GET", "/v1/accounts/"+e.account+"/ledger/"+url.PathEscape(e.key), nil)
			if err := reply.JSON(&got); err != nil || reply.Status != 200 || got.Index != e.index || got.Amount != e.amount.String() {
				t.Errorf("%s of %s at %s: %s, want %s at index %d", e.key, e.account, n.ID, reply, e.amount, e.index)
			}
		}
	}
	t.Logf("%d entries, each acknowledged %d times; %d requests were sent again", len(r.entries), sendings, r.retried.Load())
}

// more waits until so many more entries are acknowledged.
func (r *retriers) more(t *testing.T, n int64) {
	t.Helper()
	goal := r.acked.Load() + n
	testcluster.Eventually(t, 60*time.Second, "entries are acknowledged", func() error {
		if at := r.acked.Load(); at < goal {
			return fmt.Errorf("%d of %d", at, goal)
		}
		return nil
	})
}
