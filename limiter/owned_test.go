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
			g := &group{part: holders4("n1", "n2", "n3"), leased: true}
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
