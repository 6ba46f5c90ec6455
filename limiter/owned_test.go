package limiter

import (
	"fmt"
	"testing"
	"time"

	"quorate/limiter/bucket"
)

// BenchmarkOwn is the decision of an owner whose copies know of some of a
// million accounts' buckets.
func BenchmarkOwn(b *testing.B) {
	for name, algorithm := range map[string]bucket.Algorithm{"token": bucket.TokenBucket, "sliding": bucket.SlidingWindow} {
		b.Run(name, func(b *testing.B) {
			limit := perMinute("llm", bucket.Requests, bucket.MaxLimit)
			limit.Algorithm = algorithm
			g := &group{part: holders("n1", "n2", "n3"), leased: true}
			g.router(limit)
			l := g.local
			now := l.now()
			l.now = func() (at time.Duration) { now++; return now }
			accounts := make([]string, 1_000_000)
			var d bucket.Decision
			for i := range accounts {
				accounts[i] = fmt.Sprintf("account-%d", i)
				if err := l.Own(b.Context(), &bucket.Check{Account: accounts[i], Requests: 1}, &d, true); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			c := bucket.Check{Requests: 1}
			for i := 0; b.Loop(); i++ {
				c.Account = accounts[i*7919%len(accounts)]
				_ = l.Own(b.Context(), &c, &d, true)
			}
		})
	}
}

// TestOwnerThatMissedMapsRecoversItsPartition: while it was cut off, others may
// have owned the partition and lost it again. It must not decide by what it knew,
// nor publish it: copies go by the later owner's origin.
func TestOwnerThatMissedMapsRecoversItsPartition(t *testing.T) {
	back, moving := holders("n1", "n2", "n3"), holders("n2", "n1", "n3")
	moving.Moving = true
	for name, c := range map[string]struct {
		next    uint64 // epoch, after 1
		part    Part
		leased  bool // all the while
		decides bool
		takes   bool
	}{
		"the next map":                          {2, back, false, true, false},
		"a later map, with the lease held":      {5, back, true, true, false},
		"a later map, without a lease":          {5, back, false, false, true},
		"a later map by which it comes back":    {5, moving, false, false, false},
		"a later map, and it was never another": {5, holders("n2", "n1", "n3"), false, false, false},
	} {
		g := &group{part: holders("n1", "n2", "n3"), leased: true}
		g.router(perMinute("llm", bucket.Requests, 600))
		l := g.local
		_, _, before := l.view.Load().part(0)
		g.leased = c.leased
		l.Adopt(&View{Epoch: c.next, Nodes: 4, Parts: []Part{c.part}})
		g.leased = true
		v, _ := l.Try(&bucket.Check{Account: "a", Requests: 1}, &bucket.Ruling{Tier: 1, Category: "llm"}, &bucket.Decision{})
		if got := v == Decided; got != c.decides {
			t.Errorf("%s: decides %v", name, got)
		}
		if got := len(l.Tasks().Fetch) > 0; got != c.takes {
			t.Errorf("%s: takes it %v", name, got)
		}
		if _, r, since := l.view.Load().part(0); r != remote && !c.decides && since <= before {
			t.Errorf("%s: it publishes as of %d, and did as of %d before", name, since, before)
		}
	}
}
