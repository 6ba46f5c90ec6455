package sim

import (
	"fmt"
	"math"
	"slices"
	"time"

	"quorate/limiter/bucket"
)

// Violation is a bucket that admitted more than was promised.
type Violation struct {
	Account  string
	From, To time.Duration
	Admitted int64
	Ideal    float64
	Bound    float64
}

func (v *Violation) Error() string {
	return fmt.Sprintf("bucket %s admitted %d between %.3fs and %.3fs: ideal %.3f, bound of the faults %.3f",
		v.Account, v.Admitted, v.From.Seconds(), v.To.Seconds(), v.Ideal, v.Bound)
}

// spans sets when each fault's effect ended: when the cluster had settled, at the latest
// takeover after the heal.
func (w *world) spans() {
	for _, f := range w.faults {
		healed := f.Heal
		if f.Kind == Kill {
			healed = f.Start // a kill ends at once; the restart costs nothing
		}
		f.Over = min(w.over(healed), f.Heal+takeover)
	}
}

// besideOwner is how long fallbacks can decide beside an owner that is cut off, at most:
// for the rest of its lease, and a quarter of a lease for the drift of its clock and for
// messages that are under way.
var besideOwner = timing.OwnerLease * 5 / 4

// bound is what one fault may cost a bucket above its ideal, as far as it lies
// within an interval.
func (w *world) bound(f *Fault, i int, from, to time.Duration) float64 {
	if f.Over < from || f.Start > to || f.owners == nil {
		return 0
	}
	b := w.buckets[i]
	units, limit, window := b.largest(from)
	n := float64(w.Nodes)
	burst, rate := float64(units), float64(limit)/window.Seconds()
	slack := max(1, float64(units*5/100))
	switch w.Mode {
	case bucket.Sync:
		slack = 0
	case bucket.Async:
		slack = burst
	}
	begins := f.Start
	if b.sliding() {
		begins = max(from, f.Start) // see ideal
	}
	lasts := (min(to, f.Over) - begins).Seconds()
	fallback := max(1, burst/10) + rate/n*lasts
	otherFallbacks := burst/10 + rate/n*lasts // where nodes disagree on which of them is the fallback
	share := max(1, burst/n) + rate/n*lasts
	if w.CutOff == bucket.Full {
		share = burst + rate*lasts
	}
	owner := f.owns(i)
	// What was admitted too much since before the fault is paid back, except what
	// fallbacks admitted beside an owner whose lease had not ended: no node knows what it
	// admitted of a bucket that was never published.
	if excess := fallback + otherFallbacks + float64(len(f.Nodes))*share; !b.sliding() && w.CutOff != bucket.Full && !w.forgotten(f) && from < f.Start && to > f.Over+time.Duration(excess/rate*float64(time.Second)) {
		fallback, otherFallbacks, share = max(1, burst/10)+rate/n*besideOwner.Seconds(), 0, 0
	}
	if w.CutOff == bucket.Deny {
		share = 0
	}
	switch f.Kind {
	case Slow:
		return fallback + otherFallbacks
	case Kill:
		switch {
		case !owner:
			return 0
		case len(f.Nodes) > 1 || f.lonely(i):
			return burst
		}
		return slack
	case Freeze:
		if !owner {
			return 0
		}
		return slack + fallback
	case Split:
		return slack + fallback + otherFallbacks + float64(len(f.Nodes))*share
	case OneWay:
		return slack + fallback + otherFallbacks + share
	}
	return 0
}

// forgotten reports whether a node was killed while a fault lasted: what it had
// admitted cannot be paid back.
func (w *world) forgotten(f *Fault) bool {
	return slices.ContainsFunc(w.faults, func(g *Fault) bool {
		return (g.Kind == Kill || g.Kind == Roll) && g.owners != nil && g.Start <= f.Over && f.Start <= g.Over
	})
}

// composite is what faults that overlap may cost beyond their sum: the copies
// that a takeover would go by are gone when another strikes.
func (w *world) composite(i int, from, to time.Duration) float64 {
	burst, _, _ := w.buckets[i].largest(from)
	extra := 0.0
	for _, f := range w.faults {
		if f.Kind != Kill || f.owners == nil || f.Over < from || f.Start > to || len(f.Nodes) > 1 || f.lonely(i) {
			continue
		}
		if !f.owns(i) {
			continue
		}
		left := slices.Clone(f.knew[i])
		for _, g := range w.faults {
			if g != f && g.owners != nil && f.Start <= g.Over && g.Start <= f.Over {
				left = slices.DeleteFunc(left, g.hits)
			}
		}
		if len(left) == 0 {
			extra += float64(burst)
		}
	}
	return extra + w.unconfirmed(i, from, to)
}

// unconfirmed is what it costs that an owner is cut off from one copy by a link and the
// other copy is away: no copy can confirm what the owner admits, so the owner decides
// as a fallback, and so does the successor that cannot reach the owner in time, each
// within its part.
func (w *world) unconfirmed(i int, from, to time.Duration) (extra float64) {
	b := w.buckets[i]
	units, limit, window := b.largest(from)
	burst, rate := float64(units), float64(limit)/window.Seconds()
	for _, f := range w.faults {
		if f.Kind != Link || f.owners == nil || !f.owns(i) {
			continue
		}
		for _, g := range w.faults {
			if g == f || g.owners == nil || g.Kind != Kill && g.Kind != Freeze && g.Kind != Roll && g.Kind != Link {
				continue
			}
			begins, ends := max(f.Start, g.Start), min(f.Over, g.Over, to)
			if b.sliding() {
				begins = max(begins, from) // see ideal
			}
			if lasts := (ends - begins).Seconds(); lasts > 0 && ends >= from {
				extra += max(1, burst/10) + burst/10 + 2*rate/float64(w.Nodes)*lasts
			}
		}
	}
	return extra
}

// measure checks every interval between a request and a later answer.
func (w *world) measure() *Violation {
	w.spans()
	var worst *Violation
	for i, b := range w.buckets {
		admits := slices.Clone(b.admits)
		slices.SortFunc(admits, func(x, y *admit) int { return int(x.answered - y.answered) })
		asked := make([]time.Duration, len(admits))
		for k, a := range admits {
			asked[k] = a.asked
		}
		slices.Sort(asked)
		for _, from := range asked {
			if v := w.interval(i, admits, from); v != nil && (worst == nil || v.above() > worst.above()) {
				worst = v
			}
		}
	}
	return worst
}

func (v *Violation) above() float64 { return float64(v.Admitted) - v.Ideal - v.Bound }

// fast is the factor by which a fast clock runs ahead, at most. A window that is a second
// long by such a clock is shorter in truth, and more comes back by that factor.
const fast = 1.011

// ideal returns what a bucket may admit in an interval if no fault costs anything.
//
// Of a token bucket that is burst + rate x time. What was admitted too much before the
// interval is owed in it, so what a fault has cost since it began counts at the end of
// the interval, and is paid back later (bound).
//
// Of a sliding window it is the limit in any window, whatever its start: an interval as
// long as several windows, or a part of one, is within so many of them. (The product is
// stricter: room comes back up to a sixteenth of a window late.) What was admitted before
// the interval is not in it, so a fault costs what it lets through within the interval:
// what a killed owner had admitted and no copy knows (S, once), a fallback's burst and its
// rate for as long as both the interval and the fault last (I), and likewise a share.
// Nothing of it is paid back: the next windows are whole.
func (b *bucketRun) ideal(from, to time.Duration) float64 {
	burst, limit, window := b.largest(from)
	passed := fast * float64(to-from) / float64(window)
	if b.sliding() {
		return float64(limit) * (1 + math.Floor(passed))
	}
	return float64(burst) + float64(limit)*passed
}

// interval checks every interval of a bucket that begins at an instant.
func (w *world) interval(i int, admits []*admit, from time.Duration) (worst *Violation) {
	b := w.buckets[i]
	var sum int64
	var pending []*admit // to be settled later than it was answered
	for _, a := range admits {
		if a.asked < from {
			continue
		}
		sum += a.by(a.answered)
		if a.settledAt > a.answered {
			pending = append(pending, a)
		}
		ideal := b.ideal(from, a.answered)
		if float64(sum) <= ideal {
			continue
		}
		pending = slices.DeleteFunc(pending, func(p *admit) bool {
			if p.settledAt > a.answered {
				return false
			}
			sum += p.settledTo - p.units
			return true
		})
		if float64(sum) <= ideal {
			continue
		}
		w.stats.Over = max(w.stats.Over, int64(float64(sum)-ideal+0.999))
		bound := w.composite(i, from, a.answered)
		for _, f := range w.faults {
			bound += w.bound(f, i, from, a.answered)
		}
		v := &Violation{b.account, from, a.answered, sum, ideal, bound}
		if v.above() > 1e-6 && (worst == nil || v.above() > worst.above()) {
			worst = v
		}
	}
	return worst
}
