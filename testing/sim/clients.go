package sim

import (
	"time"

	"quorate/limiter/bucket"
)

// shape is a bucket and how often it is checked.
type shape struct {
	limit, burst int64
	window       time.Duration
	every        time.Duration
	cost         int64         // above 1: tokens
	pauses       time.Duration // how long the load lasts, and then rests; 0: it never does
}

// tokenBuckets are in every run.
var tokenBuckets = []shape{
	{100, 100, 10 * time.Second, 35 * time.Millisecond, 1, 0},                 // hot
	{10, 10, 10 * time.Second, 400 * time.Millisecond, 1, 0},                  // small
	{20, 60, 10 * time.Second, 150 * time.Millisecond, 1, 0},                  // burst above the limit
	{4000, 4000, 10 * time.Second, 200 * time.Millisecond, 90, 0},             // tokens
	{2000, 2000, 4 * time.Second, 60 * time.Millisecond, 90, 3 * time.Second}, // tokens, now more than there are, now none
}

// slidingWindows are those of which a run has two. A window of 3 s is over in the middle
// of a fault, and one of 20 s lasts from before the faults until after the heal.
var slidingWindows = []shape{
	{60, 60, 3 * time.Second, 40 * time.Millisecond, 1, 0},       // hot and short
	{100, 100, 10 * time.Second, 70 * time.Millisecond, 1, 0},    // hot
	{8, 8, 5 * time.Second, 350 * time.Millisecond, 1, 0},        // small
	{60, 60, 20 * time.Second, 150 * time.Millisecond, 1, 0},     // long
	{2000, 2000, 6 * time.Second, 180 * time.Millisecond, 90, 0}, // tokens
	{1000, 1000, time.Second, 60 * time.Millisecond, 90, 0},      // tokens, the shortest window
}

// traffic draws the buckets of a run.
func (w *world) traffic() {
	for _, s := range tokenBuckets {
		w.bucket(s, bucket.TokenBucket)
	}
	for _, i := range w.rng.Perm(len(slidingWindows))[:2] {
		w.bucket(slidingWindows[i], bucket.SlidingWindow)
	}
}

func (w *world) bucket(s shape, algorithm bucket.Algorithm) {
	l := bucket.Limit{Algorithm: algorithm, Limit: s.limit, Burst: s.burst, Window: s.window}
	if s.cost > 1 {
		l.Unit = bucket.Tokens
	}
	w.buckets = append(w.buckets, &bucketRun{
		account: string(rune('a' + len(w.buckets))), every: s.every, pauses: s.pauses, cost: s.cost,
		limits: []bucket.Scoped{bucket.NewScoped("llm", l, bucket.SourceTier)},
	})
}

// bucketRun is one bucket and what was admitted of it.
type bucketRun struct {
	account string
	limits  []bucket.Scoped
	was     []inForce     // limits of before, oldest first
	every   time.Duration // between checks, on average
	pauses  time.Duration
	cost    int64
	admits  []*admit
}

// inForce is a limit and until when it was in force.
type inForce struct {
	bucket.Limit
	until time.Duration
}

// admit is one admission: it lies somewhere between its request and its answer.
type admit struct {
	asked, answered time.Duration
	units           int64
	settledAt       time.Duration // since when it counts as much as it was settled to; 0: never
	settledTo       int64
}

// by returns what the admission counts in an interval that ends at the instant.
func (a *admit) by(to time.Duration) int64 {
	if a.settledAt > 0 && a.settledAt <= to {
		return a.settledTo
	}
	return a.units
}

func (b *bucketRun) sliding() bool { return b.limits[0].Algorithm == bucket.SlidingWindow }

// largest returns the largest limit in force since an instant.
func (b *bucketRun) largest(from time.Duration) (burst, limit int64, window time.Duration) {
	now := b.limits[0].Limit
	burst, limit = now.Burst, now.Limit
	for _, w := range b.was {
		if w.until >= from {
			burst, limit = max(burst, w.Burst), max(limit, w.Limit.Limit)
		}
	}
	return burst, limit, now.Window
}

func (b *bucketRun) check(reserve bool) *bucket.Check {
	c := &bucket.Check{Account: b.account, Category: "llm", Reserve: reserve}
	if b.limits[0].Unit == bucket.Tokens {
		c.Tokens = b.cost
	} else {
		c.Requests = b.cost
	}
	return c
}

// client asks a node now and then, for as long as the load lasts.
func (w *world) client(b *bucketRun, until time.Duration) {
	if w.now >= until {
		return
	}
	gap := time.Duration(w.rng.ExpFloat64() * float64(b.every))
	w.after(gap, func() { w.client(b, until) })
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if !n.member || !n.alive || b.pauses > 0 && w.now/b.pauses%2 == 0 {
		return
	}
	w.stats.Checks++
	asked := w.now
	c := b.check(w.rng.IntN(2) == 0)
	w.send(n, n, func() {
		n.enter(c, func(d bucket.Decision, ok bool) {
			switch {
			case !ok || d.Reason == bucket.Unavailable:
				w.stats.Failed++
			case d.Reason == bucket.OK:
				w.stats.Allowed++
				if d.Degraded {
					w.stats.Degraded++
				}
				a := &admit{asked: asked, answered: w.now, units: b.cost}
				b.admits = append(b.admits, a)
				w.logf("admit %s at %s left %d degraded %v", b.account, n.id, d.Limits[0].Remaining, d.Degraded)
				if d.Reservation != "" {
					w.reserved(b, a, d.Reservation)
				}
			}
		})
	})
}

// change changes the limit of a bucket at some time of the run.
func (w *world) change(b *bucketRun, at time.Duration) {
	w.after(at-w.now, func() {
		was := b.limits[0].Limit
		b.was = append(b.was, inForce{was, w.now})
		now := was
		if w.rng.IntN(2) == 0 {
			now.Limit, now.Burst = was.Limit*2, was.Burst*2
		} else {
			now.Limit, now.Burst = was.Limit/2, was.Burst/2
		}
		b.limits = []bucket.Scoped{bucket.NewScoped("llm", now, bucket.SourceTier)}
		w.logf("limit of %s from %d to %d", b.account, was.Limit, now.Limit)
	})
}
