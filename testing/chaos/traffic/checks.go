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

// keptBurst is the burst of the few accounts that are asked for all the while, at
// the same rate: small, so that what was let through is soon paid back.
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
	Workers int           // that check, a node
	Pause   time.Duration // the longest between two checks of a worker
	Cold    int           // accounts that nobody uses up
	Hot     int           // buckets that are being used up, and as many that were
	Kept    int           // buckets that are asked for all the while
	Sliding int           // windows likewise
	Writers int           // that make entries, on as many accounts as a third of them
	Between time.Duration // the longest between two entries of a writer
}

// DefaultConfig is right for two cores.
func DefaultConfig() Config {
	return Config{Workers: 4, Pause: 6 * time.Millisecond, Cold: 2000, Hot: 8, Kept: 4, Sliding: 2, Writers: 9, Between: 80 * time.Millisecond}
}

// Traffic are clients that ask until they are stopped.
type Traffic struct {
	cfg  Config
	rec  *Recorder
	cold []string
	kept []string

	hot     atomic.Pointer[[]string] // asked half of the time
	fresh   []string                 // of them, those of the last Rotate; for the one goroutine that rotates
	pool    []string
	made    int
	refused sync.Map // nodes whose clients go elsewhere, by id

	deaf   atomic.Bool  // writers miss answers
	missed atomic.Int64 // so many

	gate sync.RWMutex // held for writing while all wait

	stop context.CancelFunc
	wg   sync.WaitGroup
	work *works
}

// Start makes accounts, and then asks every node.
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

// Hold has all clients wait, until they are let go again, and returns when none is
// asking any more.
func (t *Traffic) Hold(yes bool) {
	if yes {
		t.gate.Lock()
		return
	}
	t.rec.forgetGaps()
	t.gate.Unlock()
}

// Absent sends a node's clients to the others, as a balancer does with a node
// that is being restarted on purpose; with false they come back.
func (t *Traffic) Absent(id string, away bool) {
	if away {
		t.refused.Store(id, true)
		return
	}
	t.refused.Delete(id)
}

// Rotate has new buckets be used up, beside those of the last time.
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

// Fresh are the buckets of the last Rotate.
func (t *Traffic) Fresh() []string { return t.fresh }

// Spent are those of the one before, and those that are asked for all the while.
func (t *Traffic) Spent() []string { return (*t.hot.Load())[len(t.fresh):] }

// InUse waits until half of the fresh buckets have admitted so many units, at
// most for a time.
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
		// Whoever is sent elsewhere while he waits for an answer asks there.
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

// watchOneself notes when this process did not get to run: then nobody asked,
// and a gap says nothing of the cluster.
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

// accounts buys into tier 1 for so many new accounts, in bulk, and waits until
// every node that answers knows of it.
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
			_, _ = n.Do(ctx, "GET", "/v1/cluster", nil, testcluster.MinIndex(index)) // one that is down learns of it later
		}
	}
	return names, nil
}

// limit gives an account a limit of its own, and waits until every node knows of it.
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
