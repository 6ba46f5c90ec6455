package owners

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/testing/chaos/validate"
	"quorate/testing/testcluster"
)

var faults = flag.Int("faults", 2, "how many times each kind of fault is done")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(testcluster.Main(m))
}

// round is one fault and the accounts of its victim's.
type round struct {
	victim    int
	leads     bool
	exhausted []*account
	busy      []*account // being used up when it strikes
	others    []*testcluster.Node
}

func newRound(t *testing.T, c *testcluster.Cluster, i int, pool *[]string) *round {
	t.Helper()
	c.WaitReady()
	r := &round{victim: i % len(c.Nodes), leads: c.Leader() == i%len(c.Nodes)}
	for k, n := range c.Nodes {
		if k != r.victim {
			r.others = append(r.others, n)
		}
	}
	id := c.Nodes[r.victim].ID
	r.exhausted = ownedBy(t, r.others[0], id, pool, 2)
	r.busy = ownedBy(t, r.others[0], id, pool, 2)
	for _, a := range r.exhausted {
		exhaust(t, r.others[0], a)
	}
	return r
}

func (r *round) hot() []*account { return append(r.exhausted[:2:2], r.busy...) }

// untilUsed waits until a part of the busy buckets is used.
func (r *round) untilUsed(t *testing.T, units int64) {
	t.Helper()
	testcluster.Eventually(t, 20*time.Second, "the busy buckets are in use", func() error {
		for _, a := range r.busy {
			if n := a.admitted(); n < units {
				return fmt.Errorf("%s: %d of %d", a.name, n, units)
			}
		}
		return nil
	})
}

// untilOwned waits until owners decide again on all, and returns when.
func (r *round) untilOwned(t *testing.T, since time.Time) time.Duration {
	t.Helper()
	var last time.Time
	testcluster.Eventually(t, 30*time.Second, "owners decide again", func() error {
		last = time.Time{}
		for _, a := range r.hot() {
			a.mu.Lock()
			owned := a.owned
			a.mu.Unlock()
			if !owned.After(since) {
				return fmt.Errorf("not yet on %s", a.name)
			}
			if owned.After(last) {
				last = owned
			}
		}
		return nil
	})
	return last.Sub(since)
}

// hourly is the burst of a limit that takes an hour to refill.
const hourly = 100

// keep uses up limits that take an hour to refill. Nobody asks for them until
// the end: whoever owns them by then must know all the same.
func keep(t *testing.T, c *testcluster.Cluster, count int) (kept []*account) {
	t.Helper()
	n := c.Nodes[0]
	for _, name := range c.PurchaseEach("kept", count) {
		limits := fmt.Sprintf(`{"overrides":[{"category":"llm","limits":[{"unit":"requests","limit":%d,"window":"1h"}]}]}`, hourly)
		r := n.MustDo(t, "PATCH", "/v1/accounts/"+name, limits)
		if r.Status != 200 {
			t.Fatal(r)
		}
		a := &account{name: name}
		asked := time.Now()
		cost := int64(hourly)
		d := n.Check(t, testcluster.Check{Account: name, Category: "llm", Requests: &cost}, testcluster.MinIndex(r.Index()))
		if !d.Allowed {
			t.Fatal(d.Reply)
		}
		a.admits = append(a.admits, admission(asked, time.Now(), cost))
		kept = append(kept, a)
	}
	return kept
}

func wantKept(t *testing.T, n *testcluster.Node, kept []*account) {
	t.Helper()
	for _, a := range kept {
		for range 2 * hourly {
			asked := time.Now()
			if d := n.Check(t, testcluster.Check{Account: a.name, Category: "llm"}); d.Allowed {
				a.admits = append(a.admits, admission(asked, time.Now(), 1))
			}
		}
		if over := validate.Over(a.admits, hourly, hourly/3600.0); over > 1 {
			t.Errorf("%s was used up before all kills and admitted %.2f too much since, want 1 at most", a.name, over)
		}
	}
}

// TestOwnerKilled kills owners under load: no check at a living node fails, what
// was used stays used.
func TestOwnerKilled(t *testing.T) {
	c := testcluster.Start(t, 3)
	cold := c.PurchaseEach("cold", 10_000)
	pool := c.PurchaseEach("hot", 200+40*(*faults))
	var took []time.Duration
	var slow []time.Duration
	kept := keep(t, c, 30)
	worstBusy, worstExhausted := -1.0*burst, -1.0*burst
	for i := range *faults {
		r := newRound(t, c, i, &pool)
		l := start(t, r.others, r.hot(), cold, 4)
		r.untilUsed(t, 100+rand.Int64N(400))
		c.Kill(r.victim)
		killed := time.Now()
		owned := r.untilOwned(t, killed)
		time.Sleep(500 * time.Millisecond) // what the new owner admits counts too
		l.Stop()
		l.WantNone(t)
		took, slow = append(took, owned), append(slow, l.slow...)
		exhausted, busy := -1.0*burst, -1.0*burst
		for _, a := range r.exhausted {
			if exhausted = max(exhausted, a.over()); a.over() > 1 {
				t.Errorf("kill %d: %s was exhausted and admitted %.2f more, want 1 at most", i, a.name, a.over())
			}
		}
		for _, a := range r.busy {
			if busy = max(busy, a.over()); a.over() > slack {
				t.Errorf("kill %d: %s admitted %.2f too much, want the slack of %d at most", i, a.name, a.over(), slack)
			}
		}
		worstBusy, worstExhausted = max(worstBusy, busy), max(worstExhausted, exhausted)
		t.Logf("kill %2d of %s (leader %5v): owners decide after %5.2f s; over-admitted: exhausted %6.2f, busy %7.2f; %d checks, %d by fallbacks, 99.9 %% within %s",
			i, c.Nodes[r.victim].ID, r.leads, owned.Seconds(), exhausted, busy, l.asked.Load(), l.fallback.Load(), percentile(l.slow, 0.999).Round(time.Millisecond))
		c.Restart(r.victim)
	}
	c.WaitReady()
	wantKept(t, c.Nodes[0], kept)
	if p := percentile(slow, 0.999); p >= 500*time.Millisecond {
		t.Errorf("99.9 %% of the checks within %s, want 500 ms", p)
	}
	t.Logf("%d kills: the next owner decides after %s (median), %s at most; worst over-admission: %.2f of exhausted buckets, %.2f of busy ones (slack %d); 99.9 %% of %d checks within %s, the slowest %s",
		*faults, percentile(took, 0.5).Round(time.Millisecond), percentile(took, 1).Round(time.Millisecond), worstExhausted, worstBusy, slack,
		len(slow), percentile(slow, 0.999).Round(time.Millisecond), percentile(slow, 1).Round(time.Millisecond))
}

// TestOwnerFrozen stops owners for 0.05 to 10 s and lets them go on.
func TestOwnerFrozen(t *testing.T) {
	c := testcluster.Start(t, 3)
	cold := c.PurchaseEach("cold", 10_000)
	pool := c.PurchaseEach("hot", 200+40*(*faults))
	for i := range *faults {
		r := newRound(t, c, i, &pool)
		// The first and the last are the shortest and the longest.
		part := float64(i) / float64(max(1, *faults-1))
		frozen := time.Duration(0.05 * math.Pow(200, part) * float64(time.Second))
		l := start(t, c.Nodes, r.hot(), cold, 3)
		r.untilUsed(t, 100+rand.Int64N(400))
		began := time.Now()
		c.Nodes[r.victim].Signal(t, syscall.SIGSTOP)
		time.Sleep(frozen) // the fault itself
		c.Nodes[r.victim].Signal(t, syscall.SIGCONT)
		resumed := time.Now()
		owned := r.untilOwned(t, resumed)
		time.Sleep(500 * time.Millisecond)
		l.Stop()
		bound := slack + burst/10 + rate/3*(frozen+owned).Seconds()
		worst := -1.0 * burst
		for _, a := range r.hot() {
			if worst = max(worst, a.over()); a.over() > bound {
				t.Errorf("freeze %d of %s: %s admitted %.2f too much, want %.2f at most", i, frozen, a.name, a.over(), bound)
			}
		}
		// Only the clients of the frozen node wait for it.
		failed := 0
		for _, f := range l.Failed() {
			if !strings.HasPrefix(f, "at "+c.Nodes[r.victim].ID+":") {
				failed++
				t.Errorf("a check failed %s", f)
			}
		}
		t.Logf("freeze %2d of %s for %5.2f s (leader %5v): over-admitted %7.2f of %6.2f; %d checks, %d by fallbacks, %d failed at others, %d at it; %.1f s in all",
			i, c.Nodes[r.victim].ID, frozen.Seconds(), r.leads, worst, bound, l.asked.Load(), l.fallback.Load(), failed, len(l.Failed())-failed, time.Since(began).Seconds())
	}
}
