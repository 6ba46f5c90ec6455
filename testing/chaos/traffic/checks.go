package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"quorate/testing/chaos/model"
	"quorate/testing/testcluster"
)

// The limit that every account of the traffic has: tier 1 of the default policy,
// category llm.
const (
	Burst = 600
	Rate  = 10.0 // a second
)

// keptBurst is the burst of the few accounts with constant load, at the same rate. It is
// small, so that excess admissions are paid back soon.
const keptBurst = 60

// A few more have a sliding window.
const (
	slidingLimit  = 100
	slidingWindow = 10 * time.Second
)

// Config says how much is asked.
type Config struct {
	Seed    uint64
	Nodes   []*testcluster.Node
	Workers int           // of checks, for each node
	Pause   time.Duration // the longest between two checks of a worker
	Cold    int           // accounts far below their limits
	Hot     int           // buckets that are being used up, and as many that are used up
	Kept    int           // buckets with constant load
	Sliding int           // windows likewise
	Writers int           // of entries; three share an account
	Between time.Duration // the longest between two entries of a writer
}

// DefaultConfig suits two cores.
func DefaultConfig() Config {
	return Config{Workers: 4, Pause: 6 * time.Millisecond, Cold: 2000, Hot: 8, Kept: 4, Sliding: 2, Writers: 9, Between: 80 * time.Millisecond}
}

// Traffic is a set of clients that run until Stop.
type Traffic struct {
	cfg  Config
	rec  *Recorder
	cold []string
	kept []string

	hot     atomic.Pointer[[]string] // asked half of the time
	fresh   []string                 // those of the last Rotate; only for the goroutine that rotates
	pool    []string
	made    int
	refused sync.Map // nodes that are Absent, by id

	deaf   atomic.Bool  // writers drop answers
	missed atomic.Int64 // dropped answers

	gate sync.RWMutex // held for writing by Hold

	stop context.CancelFunc
	wg   sync.WaitGroup
	work *works
}

// Start makes accounts and starts the clients of every node.
func Start(ctx context.Context, cfg Config, rec *Recorder) (*Traffic, error) {
	t := &Traffic{cfg: cfg, rec: rec}
	var err error
	if t.cold, err = t.accounts(ctx, "cold", cfg.Cold); err != nil {
		return nil, err
	}
	if t.kept, err = t.accounts(ctx, "kept", cfg.Kept); err != nil {
		return nil, err
	}
	for _, account := range t.kept {
		if err := t.limit(ctx, account, fmt.Sprintf(`"limit":%d,"window":"1m","burst":%d`, int(Rate*60), keptBurst)); err != nil {
			return nil, err
		}
		rec.addBucket(&model.Bucket{Account: account, Burst: keptBurst, Rate: Rate})
	}
	sliding, err := t.accounts(ctx, "sliding", cfg.Sliding)
	if err != nil {
		return nil, err
	}
	for _, account := range sliding {
		if err := t.limit(ctx, account, fmt.Sprintf(`"limit":%d,"window":"%s","algorithm":"sliding_window"`, slidingLimit, slidingWindow)); err != nil {
			return nil, err
		}
		rec.addBucket(&model.Bucket{Account: account, Burst: slidingLimit, Rate: slidingLimit / slidingWindow.Seconds(), Window: slidingWindow})
	}
	t.kept = append(t.kept, sliding...)
	t.hot.Store(&[]string{})
	if err := t.Rotate(ctx); err != nil {
		return nil, err
	}
	ctx, t.stop = context.WithCancel(ctx)
	for i := range cfg.Nodes {
		for w := range cfg.Workers {
			t.wg.Go(func() { t.check(ctx, i, rand.New(rand.NewPCG(cfg.Seed, uint64(i*1000+w)))) })
		}
	}
	t.work = newWorks()
	for w := range cfg.Writers {
		t.wg.Go(func() { t.write(ctx, w, rand.New(rand.NewPCG(cfg.Seed, uint64(1_000_000+w)))) })
	}
	t.wg.Go(func() { t.watchOneself(ctx) })
	return t, nil
}

// Stop ends the clients and waits for them.
func (t *Traffic) Stop() {
	t.stop()
	t.wg.Wait()
}

// Hold pauses all clients, or with false resumes them. It returns when no request is
// open.
func (t *Traffic) Hold(yes bool) {
	if yes {
		t.gate.Lock()
		return
	}
	t.rec.forgetGaps()
	t.gate.Unlock()
}

// Absent stops the clients of a node, as a load balancer does before a planned restart;
// with false they come back.
func (t *Traffic) Absent(id string, away bool) {
	if away {
		t.refused.Store(id, true)
		return
	}
	t.refused.Delete(id)
}

// Rotate starts the use of new buckets, in addition to those of the last Rotate.
func (t *Traffic) Rotate(ctx context.Context) error {
	if len(t.pool) < t.cfg.Hot {
		t.made++
		more, err := t.accounts(ctx, fmt.Sprintf("hot%d", t.made), 16*t.cfg.Hot)
		if err != nil {
			return err
		}
		t.pool = append(t.pool, more...)
	}
	next := t.pool[:t.cfg.Hot:t.cfg.Hot]
	t.pool = t.pool[t.cfg.Hot:]
	for _, account := range next {
		t.rec.addBucket(&model.Bucket{Account: account, Burst: Burst, Rate: Rate})
	}
	all := slices.Concat(next, t.fresh, t.kept)
	t.fresh = next
	t.hot.Store(&all)
	return nil
}

// Fresh returns the buckets of the last Rotate.
func (t *Traffic) Fresh() []string { return t.fresh }

// Spent returns the buckets of the Rotate before, and those with constant load.
func (t *Traffic) Spent() []string { return (*t.hot.Load())[len(t.fresh):] }

// InUse waits until half of the fresh buckets have admitted the given units, or for the
// given time.
func (t *Traffic) InUse(ctx context.Context, units int64, within time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for ctx.Err() == nil {
		there := 0
		for _, account := range t.fresh {
			if t.rec.used(account) >= units {
				there++
			}
		}
		if 2*there >= len(t.fresh) {
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (t *Traffic) check(ctx context.Context, at int, rng *rand.Rand) {
	n := t.cfg.Nodes[at]
	for ctx.Err() == nil {
		account := t.cold[rng.IntN(len(t.cold))]
		if hot := *t.hot.Load(); len(hot) > 0 && rng.IntN(4) > 0 {
			account = hot[rng.IntN(len(hot))]
		}
		if _, away := t.refused.Load(n.ID); !away {
			t.ask(ctx, n, account)
		}
		pause(ctx, time.Duration(rng.Int64N(int64(t.cfg.Pause))))
	}
}

func (t *Traffic) ask(ctx context.Context, n *testcluster.Node, account string) {
	t.gate.RLock()
	defer t.gate.RUnlock()
	a := answer{node: n.ID, account: account, asked: t.rec.Now()}
	d, err := n.Decide(context.WithoutCancel(ctx), testcluster.Check{Account: account, Category: "llm"})
	a.answered = t.rec.Now()
	if err != nil {
		// The client was sent to another node while it waited.
		if _, away := t.refused.Load(n.ID); away {
			return
		}
		a.failed = err.Error()
	} else {
		a.allowed, a.degraded, a.by = d.Allowed, d.Degraded, d.DecidedBy
		if d.Reason != "ok" && d.Reason != "rate_limited" {
			a.failed = fmt.Sprintf("%s decided %q for %s, at index %d", d.DecidedBy, d.Reason, account, d.Reply.Index())
		}
	}
	t.rec.check(a)
}

// watchOneself records when this process did not run. Gaps in those times are not the
// cluster's.
func (t *Traffic) watchOneself(ctx context.Context) {
	const beat = 10 * time.Millisecond
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for last := t.rec.Now(); ctx.Err() == nil; {
		<-tick.C
		now := t.rec.Now()
		if now-last > keptStall {
			t.rec.stall(last, now)
		}
		last = now
	}
}

// accounts makes new accounts of tier 1 in bulk, and waits until every node that answers
// has applied that.
func (t *Traffic) accounts(ctx context.Context, prefix string, count int) (names []string, err error) {
	var entries []testcluster.Entry
	for i := range count {
		names = append(names, fmt.Sprintf("%s-%d", prefix, i))
		entries = append(entries, testcluster.Entry{Account: names[i], Key: "tier", Type: "purchase", Amount: "5"})
		if len(entries) < 1000 && i < count-1 {
			continue
		}
		index, err := t.bulk(ctx, entries)
		if err != nil {
			return nil, err
		}
		entries = nil
		for _, n := range t.cfg.Nodes {
			_, _ = n.Do(ctx, "GET", "/v1/cluster", nil, testcluster.MinIndex(index)) // a node that is down applies it later
		}
	}
	return names, nil
}

// limit gives an account a limit of its own, and waits until every node has applied it.
func (t *Traffic) limit(ctx context.Context, account, limit string) error {
	limits := `{"overrides":[{"category":"llm","limits":[{"unit":"requests",` + limit + `}]}]}`
	r, err := t.cfg.Nodes[0].Do(ctx, "PATCH", "/v1/accounts/"+account, limits)
	if err != nil {
		return err
	}
	if r.Status != 200 {
		return fmt.Errorf("limit %s: %s", account, r)
	}
	for _, n := range t.cfg.Nodes {
		if _, err := n.Do(ctx, "GET", "/v1/cluster", nil, testcluster.MinIndex(r.Index())); err != nil {
			return err
		}
	}
	return nil
}

func (t *Traffic) bulk(ctx context.Context, entries []testcluster.Entry) (index uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for try := 0; ctx.Err() == nil; try++ {
		r, failed := t.cfg.Nodes[try%len(t.cfg.Nodes)].Do(ctx, "POST", "/v1/ledger", map[string]any{"entries": entries})
		if failed == nil && r.Status == 200 {
			var out struct {
				Results []struct{ Status int } `json:"results"`
			}
			if err = r.JSON(&out); err != nil {
				return 0, err
			}
			if all := len(out.Results) == len(entries); all {
				for _, res := range out.Results {
					all = all && res.Status == 200
				}
				if all {
					return r.Index(), nil
				}
			}
			failed = fmt.Errorf("%.300s", r)
		} else if failed == nil {
			failed = fmt.Errorf("%s", r)
		}
		err = failed
		pause(ctx, 100*time.Millisecond)
	}
	return 0, fmt.Errorf("make accounts: %w", err)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
