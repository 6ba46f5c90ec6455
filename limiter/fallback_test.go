package limiter

import (
	"testing"

	"quorate/limiter/bucket"
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
