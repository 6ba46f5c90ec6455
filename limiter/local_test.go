package limiter

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"quorate/limiter/bucket"
)

// fixed is Rules that always rule the same.
type fixed struct{ ruling bucket.Ruling }

func (f *fixed) Rule(*bucket.Check) bucket.Ruling { return f.ruling }
func (f *fixed) Index() uint64                    { return 7 }

var errBehind = errors.New("behind")

func (f *fixed) WaitIndex(context.Context, uint64) error { return errBehind }

func perMinute(scope string, unit bucket.Unit, n int64) bucket.Scoped {
	return bucket.NewScoped(scope, bucket.Limit{Unit: unit, Limit: n, Burst: n, Window: time.Minute}, bucket.SourceTier)
}

func newLocal(limits ...bucket.Scoped) (l *Local, rules *fixed, now *time.Duration) {
	rules = &fixed{bucket.Ruling{Tier: 1, Category: "llm", Limits: limits}}
	now = new(time.Duration)
	l = must(NewLocal(Config{
		Node: "n1", Rules: rules, Leases: alone{}, Outbox: alone{}, Now: func() time.Duration { return *now },
		Partitions: partitions, Partition: func(account string) int { return int(maphash.String(seed, account) % partitions) },
		Replication: func() bucket.Replication { return bucket.Replication{Slack: 5} },
	}))
	v := &View{Epoch: 1, Nodes: 1, Parts: make([]Part, partitions)}
	all := make([]int, partitions)
	for p := range v.Parts {
		v.Parts[p].Holders[0], all[p] = "n1", p
	}
	l.Adopt(v)
	l.FinishRecovery(1, all)
	return l, rules, now
}

const partitions = 256

var seed = maphash.MakeSeed()

// alone is the leases and the outbox of a cluster of one node.
type alone struct{}

func (alone) Valid(int, time.Duration) bool { return true }
func (alone) Majority() bool                { return true }
func (alone) Publish(UsageBound)            {}

func must(l *Local, err error) *Local {
	if err != nil {
		panic(err)
	}
	return l
}

// A Local that lacks something it would need in the middle of a check is refused.
func TestConfigIsValidated(t *testing.T) {
	good := Config{
		Node: "n1", Rules: &fixed{}, Leases: alone{}, Outbox: alone{}, Now: func() time.Duration { return 0 }, Partitions: 1,
		Partition: func(string) int { return 0 }, Replication: func() bucket.Replication { return bucket.Replication{} },
	}
	if _, err := NewLocal(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"Node": func(c *Config) { c.Node = "" }, "Rules": func(c *Config) { c.Rules = nil }, "Leases": func(c *Config) { c.Leases = nil },
		"Outbox": func(c *Config) { c.Outbox = nil }, "Now": func(c *Config) { c.Now = nil }, "Partitions": func(c *Config) { c.Partitions = 0 },
		"Partition": func(c *Config) { c.Partition = nil }, "Replication": func(c *Config) { c.Replication = nil },
		"TTL": func(c *Config) { c.Reservations = Reservations{Most: 1, NewID: func(string) string { return "r" }} },
	} {
		c := good
		if spoil(&c); c.Validate() == nil || !strings.Contains(c.Validate().Error(), name) {
			t.Errorf("%s is missing: %v", name, c.Validate())
		}
	}
}

func take(t *testing.T, l *Local, c bucket.Check) bucket.Decision {
	t.Helper()
	var d bucket.Decision
	if err := l.Own(t.Context(), &c, &d, false); err != nil {
		t.Fatalf("Own(%+v): %v", c, err)
	}
	return d
}

func TestTakeStopsAtTheLimitAndSaysWhen(t *testing.T) {
	l, _, now := newLocal(perMinute("llm", bucket.Requests, 600))
	for i := range 600 {
		if d := take(t, l, bucket.Check{Account: "a", Requests: 1}); d.Reason != bucket.OK || d.Limits[0].Remaining != int64(599-i) {
			t.Fatalf("check %d: %+v", i, d)
		}
	}
	d := take(t, l, bucket.Check{Account: "a", Requests: 1})
	if d.Reason != bucket.RateLimited || d.RetryAfter != 100*time.Millisecond || d.Hit != 0 {
		t.Fatalf("above the limit: %+v", d)
	}
	*now += d.RetryAfter - 1
	if d := take(t, l, bucket.Check{Account: "a", Requests: 1}); d.Reason != bucket.RateLimited || d.RetryAfter != 1 {
		t.Fatalf("a nanosecond early: %+v", d)
	}
	*now++
	if d := take(t, l, bucket.Check{Account: "a", Requests: 1}); d.Reason != bucket.OK {
		t.Fatalf("in time: %+v", d)
	}
	if d := take(t, l, bucket.Check{Account: "b", Requests: 1}); d.Reason != bucket.OK {
		t.Fatalf("another account: %+v", d)
	}
}

func TestTakeAllOrNone(t *testing.T) {
	l, _, _ := newLocal(perMinute("llm", bucket.Requests, 10), perMinute("llm", bucket.Tokens, 100))
	take(t, l, bucket.Check{Account: "a", Requests: 1, Tokens: 90})
	d := take(t, l, bucket.Check{Account: "a", Requests: 1, Tokens: 20})
	if d.Reason != bucket.RateLimited || d.Hit != 1 || d.Limits[0].Remaining != 9 || d.Limits[1].Remaining != 10 {
		t.Fatalf("a denial must consume nothing: %+v", d)
	}
	if d := take(t, l, bucket.Check{Account: "a", Requests: 1, Tokens: 101}); !d.NeverFits || d.RetryAfter != 0 {
		t.Fatalf("larger than the burst: %+v", d)
	}
	if d := take(t, l, bucket.Check{Account: "a", Requests: 1, Tokens: 10, DryRun: true}); d.Reason != bucket.OK || d.Limits[1].Remaining != 10 {
		t.Fatalf("a dry run must consume nothing: %+v", d)
	}
}

func TestPromotionKeepsWhatWasUsed(t *testing.T) {
	l, rules, _ := newLocal(perMinute("llm", bucket.Requests, 600))
	take(t, l, bucket.Check{Account: "a", Requests: 600})
	rules.ruling.Limits = []bucket.Scoped{perMinute("llm", bucket.Requests, 1800)}
	if d := take(t, l, bucket.Check{Account: "a", Requests: 0}); d.Limits[0].Remaining != 1200 {
		t.Fatalf("after the promotion: %+v", d)
	}
}

func TestDenialByRuleTouchesNoBucket(t *testing.T) {
	l, rules, _ := newLocal(perMinute("llm", bucket.Requests, 600))
	rules.ruling.Reason = bucket.FreeTier
	if d := take(t, l, bucket.Check{Account: "a", Requests: 1}); d.Reason != bucket.FreeTier || len(d.Limits) != 0 {
		t.Fatalf("%+v", d)
	}
	if l.Len() != 0 {
		t.Fatal("a denied account has buckets")
	}
}

func TestSweepDropsOnlyWhatOwesNothing(t *testing.T) {
	l, _, now := newLocal(perMinute("llm", bucket.Requests, 60))
	for i := range 100 {
		take(t, l, bucket.Check{Account: fmt.Sprint(i), Requests: int64(1 + i%2)})
	}
	*now = time.Second
	l.Sweep()
	if l.Len() != 50 {
		t.Fatalf("%d accounts left, want 50", l.Len())
	}
	if d := take(t, l, bucket.Check{Account: "1", Requests: 0}); d.Limits[0].Remaining != 59 {
		t.Fatalf("a swept shard lost what was owed: %+v", d)
	}
}

func TestTakeWaitsForTheIndex(t *testing.T) {
	l, _, _ := newLocal()
	var d bucket.Decision
	if err := l.Own(t.Context(), &bucket.Check{Account: "a", MinIndex: 8}, &d, false); !errors.Is(err, errBehind) {
		t.Fatalf("err = %v, want behind", err)
	}
}

// Concurrent takers together get exactly the limit while the clock stands.
func TestConcurrentTakesAreExact(t *testing.T) {
	l, _, _ := newLocal(perMinute("llm", bucket.Requests, 1000))
	var wg sync.WaitGroup
	var mu sync.Mutex
	admitted := 0
	for range 8 {
		wg.Go(func() {
			for range 400 {
				var d bucket.Decision
				if err := l.Own(context.Background(), &bucket.Check{Account: "a", Requests: 1}, &d, false); err != nil {
					t.Error(err)
				}
				if d.Reason == bucket.OK {
					mu.Lock()
					admitted++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if admitted != 1000 {
		t.Fatalf("admitted %d, want 1000", admitted)
	}
}

func BenchmarkTake(b *testing.B) {
	l, _, now := newLocal(perMinute("llm", bucket.Requests, bucket.MaxLimit))
	accounts := make([]string, 1_000_000)
	var d bucket.Decision
	for i := range accounts {
		accounts[i] = fmt.Sprintf("account-%d", i)
		_ = l.Own(b.Context(), &bucket.Check{Account: accounts[i], Requests: 1}, &d, false)
	}
	b.ReportAllocs()
	c := bucket.Check{Requests: 1}
	for i := 0; b.Loop(); i++ {
		*now++
		c.Account = accounts[i*7919%len(accounts)]
		_ = l.Own(b.Context(), &c, &d, false)
	}
}

// The strings of a check belong to the caller, who may use their memory again.
func TestTakeKeepsNoneOfTheChecksStrings(t *testing.T) {
	l, _, _ := newLocal(perMinute("llm", bucket.Requests, 600))
	buf := []byte("aaaa")
	for _, name := range []string{"aaaa", "bbbb", "aaaa"} {
		copy(buf, name)
		take(t, l, bucket.Check{Account: unsafe.String(&buf[0], len(buf)), Requests: 100})
	}
	for name, want := range map[string]int64{"aaaa": 400, "bbbb": 500} {
		if d := take(t, l, bucket.Check{Account: name}); d.Limits[0].Remaining != want {
			t.Errorf("%s: %d left, want %d", name, d.Limits[0].Remaining, want)
		}
	}
}
