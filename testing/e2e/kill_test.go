package e2e

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

const (
	settled  = time.Second     // after a kill; from here on every check gets a decision
	observed = 3 * time.Second // how long checks are watched after a kill
)

// paid collects the purchases that were acknowledged.
type paid struct {
	mu    sync.Mutex
	keys  map[string]uint64 // account to the index of its one purchase of $5
	gap   time.Duration     // the longest time without an acknowledgement since calm
	since time.Time         // the last acknowledgement, or calm
}

// calm starts the measurement of the longest gap anew.
func (p *paid) calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gap, p.since = 0, time.Now()
}

func (p *paid) add(account string, index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys == nil {
		p.keys = map[string]uint64{}
	}
	p.keys[account] = index
	p.gap, p.since = max(p.gap, time.Since(p.since)), time.Now()
}

// wantAll wants every acknowledged purchase at a node, in its account and as
// a key that replays.
func (p *paid) wantAll(t *testing.T, node *testcluster.Node) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var last uint64
	var items []string
	for account, index := range p.keys {
		last = max(last, index)
		items = append(items, fmt.Sprintf(`{"account":%q,"key":"k","type":"purchase","amount":"5"}`, account))
	}
	for account := range p.keys {
		r := node.MustDo(t, "GET", "/v1/accounts/"+account, nil, testcluster.MinIndex(last))
		var a testcluster.Account
		if err := r.JSON(&a); err != nil || r.Status != 200 || a.LifetimeSpend != "5.00" || a.Tier != 1 {
			t.Errorf("lost at %s: a purchase of 5.00 by %s acknowledged at index %d; its account is %s", node.ID, account, p.keys[account], r)
		}
	}
	for from := 0; from < len(items); from += 1000 {
		some := items[from:min(from+1000, len(items))]
		r := node.MustDo(t, "POST", "/v1/ledger", `{"entries":[`+strings.Join(some, ",")+`]}`)
		if n := strings.Count(string(r.Body), `"replayed":true`); r.Status != 200 || n != len(some) {
			t.Errorf("%d of %d acknowledged keys replay at %s: %s", n, len(some), node.ID, r)
		}
	}
}

// buyers buy with new accounts at the given nodes until ctx ends. What is not
// acknowledged is nobody's loss.
func (p *paid) buyers(ctx context.Context, t *testing.T, nodes []*testcluster.Node) *sync.WaitGroup {
	var wg sync.WaitGroup
	for _, node := range nodes {
		wg.Go(func() {
			for ctx.Err() == nil {
				account := newAccount(t)
				e, err := node.Enter(ctx, account, testcluster.Entry{Key: "k", Type: "purchase", Amount: "5"})
				pause := 20 * time.Millisecond // a node without a leader answers at once
				if err == nil {
					p.add(account, e.Entry.Index)
					pause = 3 * time.Millisecond
				}
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	return &wg
}

// watch counts what checks at one node got.
type watch struct {
	early, late atomic.Int64 // no decision before and after things had to be settled
	asked       atomic.Int64
	slowest     atomic.Int64 // nanoseconds, of the late ones

	mu    sync.Mutex
	first string // what the first late failure said
}

func (w *watch) run(ctx context.Context, node *testcluster.Node, accounts []string, killed time.Time) {
	for i := 0; ctx.Err() == nil; i++ {
		sent := time.Now()
		late := sent.Sub(killed) >= settled
		_, err := node.Decide(ctx, testcluster.Check{Account: accounts[i%len(accounts)], Category: "llm"})
		if ctx.Err() != nil {
			return
		}
		w.asked.Add(1)
		if late {
			w.slowest.Store(max(w.slowest.Load(), int64(time.Since(sent))))
		}
		switch {
		case err == nil:
		case late:
			w.late.Add(1)
			w.mu.Lock()
			if w.first == "" {
				w.first = err.Error()
			}
			w.mu.Unlock()
		default:
			w.early.Add(1)
		}
	}
}

// TestKillEachNode kills one node after the other, the leader last.
func TestKillEachNode(t *testing.T) {
	c := testcluster.Start(t, 3)
	var p paid
	var accounts []string // enough that every node owns many
	for i := range 60 {
		account := newAccount(t)
		e := c.Nodes[i%3].Purchase(t, account, "k", "5")
		p.add(account, e.Entry.Index)
		accounts = append(accounts, account)
	}
	leader := c.Leader()
	for _, i := range []int{(leader + 1) % 3, (leader + 2) % 3, leader} {
		t.Run(c.Nodes[i].ID, func(t *testing.T) { killOne(t, c, i, &p, accounts) })
	}
}

func killOne(t *testing.T, c *testcluster.Cluster, victim int, p *paid, accounts []string) {
	leads := c.Leader() == victim
	var living []*testcluster.Node
	for i, n := range c.Nodes {
		if i != victim {
			living = append(living, n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	buying := p.buyers(ctx, t, living)
	c.Kill(victim)
	killed := time.Now()
	p.calm()

	var w watch
	var wg sync.WaitGroup
	watched, stop := context.WithDeadline(ctx, killed.Add(observed))
	defer stop()
	for _, n := range living {
		wg.Go(func() { w.run(watched, n, accounts, killed) })
	}
	wg.Wait()
	if w.late.Load() > 0 {
		t.Errorf("%d checks at living nodes, sent %s or more after the kill, got no decision; the first: %s", w.late.Load(), settled, w.first)
	}
	// Writes come back before anyone restarts the dead node.
	account := newAccount(t)
	testcluster.Eventually(t, 20*time.Second, "a purchase at two of three nodes", func() error {
		e, err := living[0].Enter(t.Context(), account, testcluster.Entry{Key: "k", Type: "purchase", Amount: "5"})
		if err == nil {
			p.add(account, e.Entry.Index)
		}
		return err
	})
	cancel()
	buying.Wait()
	gap := p.gap
	p.wantAll(t, living[0])
	p.wantAll(t, living[1])

	goal := living[0].Status(t).Node(living[0].ID).AppliedIndex
	c.Restart(victim)
	restarted := time.Now()
	c.WaitReady()
	testcluster.Eventually(t, 10*time.Second, "the restarted node catches up", func() error {
		if line := c.Nodes[victim].Status(t).Node(c.Nodes[victim].ID); line.AppliedIndex < goal {
			return fmt.Errorf("it has applied %d of %d", line.AppliedIndex, goal)
		}
		return nil
	})
	p.wantAll(t, c.Nodes[victim])
	t.Logf("%s killed (leader %v): %d checks, %d failed in the first %s, %d later, slowest later %.1f ms; longest time without a write %s; %d purchases acknowledged so far; ready again %s after its start",
		c.Nodes[victim].ID, leads, w.asked.Load(), w.early.Load(), settled, w.late.Load(), float64(w.slowest.Load())/1e6,
		gap.Round(time.Millisecond), len(p.keys), time.Since(restarted).Round(time.Millisecond))
}

// TestKillAll kills all nodes at once in the middle of writing, twice.
func TestKillAll(t *testing.T) {
	c := testcluster.Start(t, 3)
	id := c.Nodes[0].Status(t).ClusterID
	var p paid
	for round := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		buying := p.buyers(ctx, t, append(c.Nodes, c.Nodes...))
		want := (round + 1) * 200
		testcluster.Eventually(t, 30*time.Second, "purchases are acknowledged", func() error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if len(p.keys) < want {
				return fmt.Errorf("%d of %d", len(p.keys), want)
			}
			return nil
		})
		var wg sync.WaitGroup
		for i := range c.Nodes {
			wg.Go(func() { c.Kill(i) })
		}
		wg.Wait()
		cancel()
		buying.Wait()
		for i := range c.Nodes {
			c.Restart(i)
		}
		c.WaitReady()
		for _, n := range c.Nodes {
			p.wantAll(t, n)
		}
		t.Logf("round %d: all of %d acknowledged purchases are at all nodes", round+1, len(p.keys))
	}
	if got := c.Nodes[0].Status(t).ClusterID; got != id {
		t.Errorf("cluster %q came back as %q", id, got)
	}
}

// TestStopAndStart: SIGTERM ends a node in order, and the others go on.
func TestStopAndStart(t *testing.T) {
	c := testcluster.Start(t, 3)
	var p paid
	for i := range 10 {
		account := newAccount(t)
		p.add(account, c.Nodes[i%3].Purchase(t, account, "k", "5").Entry.Index)
	}
	leader := c.Leader()
	start := time.Now()
	if code := c.Stop(leader); code != 0 {
		t.Errorf("the leader's exit code is %d", code)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("the leader took %s to stop, want 15 s at most", took)
	}
	c.WaitReady()
	other := c.Nodes[(leader+1)%3]
	account := newAccount(t)
	p.add(account, other.Purchase(t, account, "k", "5").Entry.Index)
	p.wantAll(t, other)
	c.Restart(leader)
	c.WaitReady()
	p.wantAll(t, c.Nodes[leader])
	for i := range c.Nodes {
		if code := c.Stop(i); code != 0 {
			t.Errorf("%s: exit code %d", c.Nodes[i].ID, code)
		}
	}
}
