package sim

import (
	"fmt"
	"slices"
	"time"

	"quorate/limiter/bucket"
)

// takeover is how long a fault's effect lasts after it has healed: until the
// next owner decides.
const takeover = 8 * time.Second

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

// bound is what one fault may cost a bucket above its ideal, as far as it lies
// within an interval.
func (w *world) bound(f *Fault, i int, from, to time.Duration) float64 {
	if f.Heal+takeover < from || f.Start > to {
		return 0
	}
	l := w.buckets[i].limits[0].Limit
	n := float64(w.Nodes)
	burst, rate := float64(l.Burst), float64(l.Limit)/l.Window.Seconds()
	slack := max(1, float64(l.Burst*5/100))
	if w.Mode == bucket.Sync {
		slack = 0
	}
	lasts := (min(to, f.Heal+takeover) - f.Start).Seconds()
	interim := max(1, burst/10) + rate/n*lasts
	owner := f.owners != nil && f.owners[i] >= 0 && slices.Contains(f.Nodes, f.owners[i])
	share := max(1, burst/n) + rate/n*lasts
	// What was admitted too much since before the fault is paid back, but for what
	// stand-ins admitted beside an owner whose lease had not ended: nobody knows
	// what he admitted of a bucket that was never stated.
	if excess := interim + float64(len(f.Nodes))*share; w.CutOff != bucket.Full && from < f.Start && to > f.Heal+takeover/2+time.Duration(excess/rate*float64(time.Second)) {
		interim, share = max(1, burst/10)+rate/n*1.25*leaseLength.Seconds(), 0
	}
	switch f.Kind {
	case Slow:
		return interim
	case Kill:
		if f.owners == nil || !owner && f.owners[i] >= 0 {
			return 0
		}
		return slack
	case Freeze:
		if f.owners == nil || !owner && f.owners[i] >= 0 {
			return 0
		}
		return slack + interim
	case Split:
		m := float64(len(f.Nodes))
		if w.CutOff == bucket.Deny {
			return slack + interim
		}
		return slack + interim + m*share
	case OneWay:
		if w.CutOff == bucket.Deny {
			return slack + interim
		}
		return slack + interim + share
	}
	return 0
}

// composite is what faults that overlap may cost beyond their sum: a copy that
// one has taken is missing when the other strikes, and what could be relayed or
// handed over cannot be.
func (w *world) composite(i int, from, to time.Duration) float64 {
	l := w.buckets[i].limits[0].Limit
	extra := 0.0
	for k, f := range w.faults {
		for _, g := range w.faults[k+1:] {
			touches := f.Heal+takeover >= from && f.Start <= to && g.Heal+takeover >= from && g.Start <= to
			if touches && f.Start <= g.Heal+takeover && g.Start <= f.Heal+takeover {
				extra += float64(l.Burst)
			}
		}
	}
	return extra
}

// measure checks every interval between a request and a later answer.
func (w *world) measure() *Violation {
	var worst *Violation
	for i, b := range w.buckets {
		l := b.limits[0].Limit
		rate := float64(l.Limit) / float64(l.Window)
		admits := b.admits
		slices.SortFunc(admits, func(x, y admit) int { return int(x.answered - y.answered) })
		asked := make([]time.Duration, len(admits))
		for k, a := range admits {
			asked[k] = a.asked
		}
		slices.Sort(asked)
		for _, from := range asked {
			var sum int64
			for _, a := range admits {
				if a.asked < from {
					continue
				}
				sum += a.units
				// Clocks that are fast by the drift refill faster.
				ideal := float64(l.Burst) + 1.011*rate*float64(a.answered-from)
				if float64(sum) <= ideal {
					continue
				}
				w.stats.Over = max(w.stats.Over, int64(float64(sum)-ideal+0.999))
				bound := w.composite(i, from, a.answered)
				for _, f := range w.faults {
					bound += w.bound(f, i, from, a.answered)
				}
				if over := float64(sum) - ideal - bound; over > 1e-6 && (worst == nil || over > float64(worst.Admitted)-worst.Ideal-worst.Bound) {
					worst = &Violation{b.account, from, a.answered, sum, ideal, bound}
				}
			}
		}
	}
	return worst
}
