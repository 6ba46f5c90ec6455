package sim

import (
	"time"

	"quorate/limiter/bucket"
)

// bucketRun is one bucket and what was admitted of it.
type bucketRun struct {
	account string
	limits  []bucket.Scoped
	was     []inForce     // limits of before, oldest first
	every   time.Duration // between checks, on average
	cost    int64
	reserve bool // some checks are settled later
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
	settled         time.Duration // since when it counts as much as it was settled to; 0: never
	to              int64
}

// by returns what the admission counts in an interval that ends at the instant.
func (a *admit) by(to time.Duration) int64 {
	if a.settled > 0 && a.settled <= to {
		return a.to
	}
	return a.units
}

// largest returns the largest limit in force in an interval.
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
	c := &bucket.Check{Account: b.account, Category: "llm", Requests: b.cost}
	if b.reserve {
		c.Requests, c.Tokens, c.Reserve = 0, b.cost, reserve
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
	if !n.member || !n.alive {
		return
	}
	w.stats.Checks++
	asked := w.now
	c := b.check(b.reserve && w.rng.IntN(2) == 0)
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
					w.settle(n, a, d, c.Account)
				}
			}
		})
	})
}

// settle corrects an admission some time later, where it was decided. It counts
// less from the sending on: whether it arrives is not known.
func (w *world) settle(n *node, a *admit, d bucket.Decision, account string) {
	to, used := w.byID[d.DecidedBy], w.rng.Int64N(a.units+1)
	w.after(time.Duration(w.rng.Int64N(int64(time.Second))), func() {
		if !n.alive {
			return
		}
		a.settled, a.to = w.now, used
		w.send(n, to, func() {
			to.local.Settle(&bucket.Settlement{Account: account, Reservation: d.Reservation, Tokens: used})
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
