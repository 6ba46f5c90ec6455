package validate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"quorate/testing/chaos/model"
)

// Over returns the most by which a bucket of the given burst, refilled at rate
// units a second, was exceeded in any interval: over all a and b, what was asked
// after a and answered before b, less burst + rate x (b - a). It is below zero
// for a bucket that was never full.
func Over(all []model.Admission, burst, rate float64) float64 {
	worst := -burst
	intervals(all, burst, rate, forEver, func(_, _ time.Duration, over, _ float64) { worst = max(worst, over) })
	return worst
}

// intervals calls fn with what each interval between a request and a later
// answer, no longer than longest, admitted above its ideal, and with the most of those
// that begin alike and end no later.
func intervals(all []model.Admission, burst, rate float64, longest time.Duration, fn func(from, to time.Duration, over, peak float64)) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b model.Admission) int { return int(a.Answered - b.Answered) })
	asked := make([]time.Duration, len(all))
	for i, a := range all {
		asked[i] = a.Asked
	}
	slices.Sort(asked)
	for _, from := range slices.Compact(asked) {
		sum, peak := 0.0, -burst
		for _, a := range all {
			if a.Asked < from {
				continue
			}
			if a.Answered-from > longest {
				break
			}
			sum += float64(a.Units)
			over := sum - burst - rate*(a.Answered-from).Seconds()
			peak = max(peak, over)
			fn(from, a.Answered, over, peak)
		}
	}
}

// Cost is the largest over-admission of a bucket during a fault, in intervals that meet
// no other fault.
type Cost struct {
	Fault   *model.Fault
	Account string
	Over    float64 // at most 0: nothing
	Bound   float64 // of that bucket; without over-admission the highest of all buckets

	// Measured reports whether an interval meets this fault and no other.
	Measured bool

	// Recovery is the time until the cluster was whole after the fault.
	Recovery time.Duration

	// Still is the longest time without an entry of the ledger during the fault.
	Still time.Duration
}

// rounding is the error of the arithmetic.
const rounding = 1e-6

// OverAdmission checks every interval of every bucket against its ideal and the
// bounds of the faults that it meets.
func OverAdmission(h *model.History) (Result, []Cost) {
	r := Result{Invariant: "over-admission", OK: true, Bound: "burst + rate x time, or the limit in any window of a sliding one, + the bounds of the faults met"}
	faults := h.Faults()
	costs := make([]Cost, len(faults))
	for i, f := range faults {
		costs[i] = Cost{Fault: f}
		for _, account := range slices.Concat(f.Fresh, f.Spent) {
			if b := h.Bucket(account); b != nil {
				costs[i].Bound = max(costs[i].Bound, Bound(h, b, f))
			}
		}
	}
	worst := -1e9
	for _, b := range h.Buckets {
		var bad *Cost
		var badFrom, badTo time.Duration
		allowed := newAllowance(h, b, faults)
		rate, longest := b.Rate, forEver
		if b.Window > 0 {
			rate, longest = 0, b.Window
		}
		intervals(b.Admits, b.Burst, rate, longest, func(from, to time.Duration, over, peak float64) {
			worst = max(worst, over)
			c := Cost{Account: b.Account, Over: over, Bound: allowed.of(from, to, peak), Measured: true}
			i := allowed.only()
			if i >= 0 {
				costs[i].Measured = true
			}
			if over <= 0 {
				return
			}
			if i >= 0 {
				c.Fault = faults[i]
				if was := costs[i]; was.Over <= 0 || c.Over-c.Bound > was.Over-was.Bound {
					costs[i] = c
				}
			}
			if over > c.Bound+rounding && (bad == nil || over-c.Bound > bad.Over-bad.Bound) {
				c.Fault = last(faults, to)
				bad, badFrom, badTo = &c, from, to
			}
		})
		if bad != nil {
			r.fail("%s admitted %.2f above its ideal, the faults allow %.2f (%s; %s)", bad.Account, bad.Over, bad.Bound, name(bad.Fault), deciders(b, badFrom, badTo))
		}
	}
	r.Figure = fmt.Sprintf("%.2f at most, of %d buckets", worst, len(h.Buckets))
	if len(h.Buckets) == 0 {
		r.fail("there was no bucket")
	}
	return r, costs
}

// deciders lists the nodes that admitted in an interval, in the order in which they
// began.
func deciders(b *model.Bucket, from, to time.Duration) string {
	type decider struct {
		by       string
		degraded bool
	}
	type span struct {
		units       int64
		first, last time.Duration
	}
	all := map[decider]span{}
	for _, a := range b.Admits {
		if a.Asked < from || a.Answered > to {
			continue
		}
		k := decider{a.By, a.Degraded}
		s, ok := all[k]
		if !ok {
			s.first = a.Answered
		}
		s.units, s.first, s.last = s.units+a.Units, min(s.first, a.Answered), max(s.last, a.Answered)
		all[k] = s
	}
	out := fmt.Sprintf("from %.3f to %.3f s", from.Seconds(), to.Seconds())
	order := slices.SortedFunc(maps.Keys(all), func(x, y decider) int { return cmp.Compare(all[x].first, all[y].first) })
	for _, k := range order {
		s, what := all[k], "as owner"
		if k.degraded {
			what = "in its place"
		}
		out += fmt.Sprintf(", %s %s %d at %.3f to %.3f s", k.by, what, s.units, s.first.Seconds(), s.last.Seconds())
	}
	return out
}

func name(f *model.Fault) string {
	if f == nil {
		return "before any fault"
	}
	return fmt.Sprintf("after %s of %v at %.1f s", f.Name, f.Nodes, f.Start.Seconds())
}

// last returns the last fault that had begun by an instant.
func last(faults []*model.Fault, at time.Duration) (f *model.Fault) {
	for _, g := range faults {
		if g.Start <= at {
			f = g
		}
	}
	return f
}

// lease is how long a node without a majority may decide as owner: the length of a lease,
// the drift that a grantor adds, and a beat.
const lease = 3 * time.Second

// OneOwner checks that nodes without a majority stop deciding as owners when
// their leases are over.
func OneOwner(h *model.History) Result {
	r := Result{Invariant: "one owner at a time", OK: true, Bound: fmt.Sprintf("a node without a majority admits nothing as owner after %s", lease)}
	cut, admitted := 0, 0
	for _, f := range h.Faults() {
		if f.Kind != model.CutOff && f.Kind != model.NoMajority {
			continue
		}
		from, until := cmp.Or(f.Struck, f.Start), cmp.Or(f.Mending, f.Heal)
		if until <= from+lease {
			continue
		}
		cut++
		for _, b := range h.Buckets {
			for _, a := range b.Admits {
				if !a.Degraded && slices.Contains(f.Nodes, a.By) && a.Asked > from+lease && a.Answered < until {
					admitted++
					r.fail("%s was admitted by %s as owner %.2f s after it was cut off", b.Account, a.By, (a.Asked - from).Seconds())
				}
			}
		}
	}
	r.Figure = fmt.Sprintf("%d times without a majority for longer, %d admissions as owner after it", cut, admitted)
	return r
}
