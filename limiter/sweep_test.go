package limiter

import (
	"testing"
	"time"

	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

// counts counts what a node keeps: accounts, and what it knows of buckets as
// owner, copy and fallback node.
func counts(l *Local) (n [4]int) {
	for i := range l.parts {
		sh := &l.parts[i]
		n[0], n[1], n[2], n[3] = n[0]+len(sh.accounts), n[1]+len(sh.tracked), n[2]+len(sh.copies), n[3]+len(sh.fallbacks)
	}
	return n
}

// What nothing depends on any more is dropped: when a bucket has refilled what
// its owner, its copies and its fallback nodes know of it, and not before.
func TestSweepDropsWhatIsOverAndNothingElse(t *testing.T) {
	limit := perMinute("llm", bucket.Requests, 600)
	var d bucket.Decision
	c := bucket.Check{Account: "a", Category: "llm", Requests: 500}
	for name, k := range map[string]struct {
		part Part
		do   func(*Local, *Router)
		want [4]int
	}{
		"an owner's": {holders("n1", "n2", "n3"), func(l *Local, r *Router) {
			_ = l.Own(t.Context(), &c, &d, true) // states it
			for _, h := range l.parts[0].tracked {
				_ = h
				l.Acked(bucket.ID{Account: "a", Scope: "llm", Window: time.Minute}, "n2", 1)
			}
			if err := l.Own(t.Context(), &c, &d, true); err != nil || d.Reason != bucket.OK {
				t.Fatal(err, d)
			}
		}, [4]int{1, 1, 0, 0}},
		"a copy": {holders("n2", "n1", "n3"), func(l *Local, r *Router) {
			l.StoreBound(UsageBound{ID: bucket.ID{Account: "a", Scope: "llm", Window: time.Minute}, Origin: 1, UsageBound: replica.UsageBound{
				Seq: 1, State: bucket.State{Units: 500, Rate: 600}, Spent: 500,
			}})
		}, [4]int{0, 0, 1, 0}},
		"a fallback's": {holders("n2", "n1", "n3"), func(l *Local, r *Router) {
			c := c
			c.Requests = 5
			if err := l.Fallback(t.Context(), &c, &d); err != nil || d.Reason != bucket.OK {
				t.Fatal(err, d)
			}
			for _, usage := range l.FallbackUsages() {
				l.MarkAbsorbed(usage, 5)
			}
		}, [4]int{0, 0, 0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			g := &group{part: k.part, leased: true}
			r := g.router(limit)
			var now time.Duration
			g.local.now = func() time.Duration { return now }
			k.do(g.local, r)
			g.local.Sweep()
			if got := counts(g.local); got != k.want {
				t.Fatalf("in use: %v, want %v", got, k.want)
			}
			now = 2 * time.Minute
			g.local.Sweep()
			if got := counts(g.local); got != [4]int{} {
				t.Fatalf("refilled: %v is left", got)
			}
		})
	}
}
