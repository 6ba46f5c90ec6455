package limiter

import (
	"testing"
	"time"

	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

// locked is leases that look whether they are asked with a lock held.
type locked struct {
	*trio
	free bool
}

func (g *locked) Majority() bool {
	sh := &g.nodes[1].parts[0]
	if g.free = sh.mu.TryLock(); g.free {
		sh.mu.Unlock()
	}
	return true
}

// A map is adopted under the lock under which a majority is counted, and takes the
// locks of buckets in turn: a fallback node that asked with one held stopped both for ever.
func TestAMajorityIsCountedWithoutALock(t *testing.T) {
	g := newTrio(perMinute("llm", bucket.Requests, 10))
	leases := &locked{trio: g}
	g.nodes[1].cfg.Leases = leases
	c, d := bucket.Check{Account: "a", Requests: 1}, bucket.Decision{}
	r, _, err := g.nodes[1].open(t.Context(), &c, &d)
	if err != nil || !g.nodes[1].DecideFallback(&c, &r, &d) || !leases.free {
		t.Errorf("%v %+v, free %v", err, d, leases.free)
	}
}

// Two fallback nodes that the owner hears of only after the copy has decayed to nothing
// are not both forgiven the time in which the copy was empty.
func TestRecoveryForgivesAnEmptyBucketOnce(t *testing.T) {
	limit := perMinute("llm", bucket.Requests, 60)
	g := newTrio(limit)
	g.must(t, 0, bucket.Check{Account: "a", Requests: 20})
	usage := func(source uint64, units int64, f replica.Fork) FallbackUsage {
		return FallbackUsage{ID: idOf("a", &limit), Limit: limit.Limit, FallbackUsage: replica.FallbackUsage{
			SourceTotal: replica.SourceTotal{Source: source, Units: units}, Age: 22 * time.Second, Fork: f,
		}}
	}
	g.now += 35 * time.Second
	g.nodes[1].ReceiveUsage(usage(1, 8, replica.Fork{Spent: 20, Units: 20, Age: 35 * time.Second}))
	g.nodes[1].ReceiveUsage(usage(2, 17, replica.Fork{Spent: -1}))
	g.takeOver()
	if got := g.left(t, 1); got > 50 {
		t.Errorf("%d left, but 20 + 8 + 17 were taken and 35 have come back: want 50 at most", got)
	}
}
