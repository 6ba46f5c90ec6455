package sim

import (
	"errors"
	"time"

	"quorate/limiter"
	"quorate/limiter/bucket"
)

// This file settles, releases and repeats reservations, and drives the product's walk of a
// settlement, as limiter.Router does.

var errNotReady = errors.New("this node has not caught up with its log")

// reservation is what a client does with an admission that it may settle.
type reservation struct {
	bucket.Settlement
	admit   *admit
	sent    bool
	applied int // how often a settlement has changed a bucket
}

// reserved draws what becomes of a reservation: it is settled below or at its estimate,
// released, or left to expire. It is held for longer than most faults take to be noticed,
// and some are held for a whole fault. A client may repeat its settlement, at any
// node, whatever the answer was.
func (w *world) reserved(b *bucketRun, a *admit, id string) {
	r := &reservation{admit: a, Settlement: bucket.Settlement{Account: b.account, Reservation: id, Tokens: a.units}}
	w.reservations[id] = r
	w.stats.Reserved++
	switch w.rng.IntN(8) {
	case 0:
		return // it expires
	case 1: // at its estimate
	case 2, 3:
		r.Release = true
	default:
		r.Tokens = w.rng.Int64N(a.units + 1)
	}
	longest := holds[w.rng.IntN(len(holds))]
	hold := time.Duration(w.rng.Int64N(int64(longest)))
	w.after(hold, func() { w.settle(r) })
	for w.rng.IntN(3) == 0 {
		w.after(hold+time.Duration(w.rng.Int64N(int64(longest))), func() { w.settle(r) })
	}
}

// settle sends the settlement of a reservation to a node. From the first sending on the
// admission counts only as settled.
func (w *world) settle(r *reservation) {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if !n.member || !n.alive {
		return
	}
	if a := r.admit; !r.sent {
		r.sent, a.settledAt, a.settledTo = true, w.now, a.units
		switch {
		case r.Release:
			a.settledTo = 0
		case w.bucketOf(r.Account).limits[0].Unit == bucket.Tokens:
			a.settledTo = r.Tokens
		}
	}
	w.send(n, n, func() {
		n.settle(&r.Settlement, func(what bucket.Settled, err error) {
			switch {
			case err != nil:
				w.stats.Unsettled++
			case what == bucket.SettledOtherwise:
				w.breaks("%s answers that reservation %s was settled with other numbers", n.id, r.Reservation)
			case what == bucket.SettledUnknown:
				w.stats.Unknown++
			default:
				w.stats.Settled++
			}
		})
	})
}

func (w *world) bucketOf(account string) *bucketRun { return w.buckets[account[0]-'a'] }

// settle makes the steps of a settlement's walk.
func (n *node) settle(s *bucket.Settlement, done func(bucket.Settled, error)) {
	var walk limiter.SettleWalk
	var what bucket.Settled
	changed := n.local.RoleChanged()
	var onAnswer func(bucket.Settled, error)
	var next func(out limiter.Outcome, err error)
	next = func(out limiter.Outcome, err error) {
		part, _ := n.local.Placement(partition(s.Account))
		switch step := walk.Next(n.clock(), n.id, part, out); step.Do {
		case limiter.AskNode:
			n.askSettle(step, s, onAnswer)
		case limiter.SettleHere:
			onAnswer(n.serveSettle(s))
		case limiter.AwaitPartition:
			n.await(changed, step.For, func() {
				changed = n.local.RoleChanged()
				next(limiter.Pending, err)
			})
		default:
			done(what, step.Err(err))
		}
	}
	onAnswer = func(w bucket.Settled, err error) { what = w; next(limiter.OutcomeOf(err, nil), err) }
	next(limiter.Pending, nil)
}

// serveSettle settles as the owner. No reservation is settled twice.
func (n *node) serveSettle(s *bucket.Settlement) (bucket.Settled, error) {
	if !n.Ready() {
		return bucket.SettledUnknown, errNotReady
	}
	what, err := n.local.Settle(s)
	if err == nil && what == bucket.SettledNow {
		r := n.w.reservations[s.Reservation]
		n.w.logf("%s settles %s of %s: %d of %d", n.id, s.Reservation, s.Account, r.admit.settledTo, r.admit.units)
		if r.applied++; r.applied > 1 {
			n.w.breaks("%s settles %s, which has been settled", n.id, s.Reservation)
		}
	}
	return what, err
}

// askSettle asks another node to settle, for as long as the step says.
func (n *node) askSettle(step limiter.Step, s *bucket.Settlement, done func(bucket.Settled, error)) {
	to, boot, over := n.w.byID[step.Node], n.boot, false
	finish := func(what bucket.Settled, err error) {
		if n.boot == boot && !over {
			over = true
			done(what, err)
		}
	}
	n.after(step.For, func() { finish(bucket.SettledUnknown, errNoAnswer) })
	n.w.send(n, to, func() {
		what, err := to.serveSettle(s)
		n.w.send(to, n, func() { finish(what, err) })
	})
}

// unapplied lets an admission count in full again if its settlement reached no owner.
func (w *world) unapplied() {
	for _, r := range w.reservations {
		if r.applied == 0 {
			r.admit.settledAt = 0
		}
	}
}
