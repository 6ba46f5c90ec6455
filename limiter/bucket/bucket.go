package bucket

import (
	"math"
	"math/bits"
	"time"
)

// State is a token bucket: Units + Frac/window are owed at the instant At, and
// decay at Rate units a window. The zero State owes nothing.
type State struct {
	Units int64         // whole units owed, never negative
	Frac  int64         // nanoseconds-of-window numerator in [0, window)
	Rate  int64         // units a window while the debt was last touched
	At    time.Duration // monotonic instant of the last touch
}

// Decay returns the state decayed to now under the limit l. A stretch of time
// that contains a change of the limit decays at the slower of the two rates,
// so that a promotion never forgives what was used. An instant before the last
// touch changes nothing.
func (s State) Decay(l Limit, now time.Duration) State {
	rate := l.Limit
	if s.Rate != 0 && s.Rate < rate {
		rate = s.Rate
	}
	s.Rate = l.Limit
	if now <= s.At {
		return s
	}
	dt := now - s.At
	s.At = now
	if s.Units == 0 && s.Frac == 0 {
		return s
	}
	// dt * rate / window units have come back; the remainder stays exact.
	hi, lo := bits.Mul64(uint64(dt), uint64(rate))
	if hi >= uint64(l.Window) {
		s.Units, s.Frac = 0, 0
		return s
	}
	units, frac := bits.Div64(hi, lo, uint64(l.Window))
	if units > uint64(s.Units) || (units == uint64(s.Units) && frac >= uint64(s.Frac)) {
		s.Units, s.Frac = 0, 0
		return s
	}
	s.Units -= int64(units)
	s.Frac -= int64(frac)
	if s.Frac < 0 {
		s.Frac += int64(l.Window)
		s.Units--
	}
	return s
}

// Room reports whether used + cost <= burst. A cost of zero is refused only by
// a bucket that owes more than its burst.
func (s State) Room(l Limit, cost int64) bool {
	free := l.Burst - s.Units
	return cost < free || (cost == free && s.Frac == 0)
}

// Add returns the state with cost units more owed.
func (s State) Add(cost int64) State {
	s.Units += cost
	return s
}

// Wait returns how long from s.At until cost fits if nothing else is taken, exactly,
// rounded up to a nanosecond. It returns 0 when cost fits now; the result has no
// meaning for a cost above the burst.
func (s State) Wait(l Limit, cost int64) time.Duration {
	if s.Room(l, cost) {
		return 0
	}
	return timeFor(l, s.Units+cost-l.Burst, s.Frac)
}

// Remaining returns the whole units left, never negative.
func (s State) Remaining(l Limit) int64 {
	left := l.Burst - s.Units
	if s.Frac > 0 {
		left--
	}
	return max(0, left)
}

// Reset returns how long from s.At until nothing is owed.
func (s State) Reset(l Limit) time.Duration { return timeFor(l, s.Units, s.Frac) }

// Next returns how long from s.At until one more whole unit is there; 0 when
// nothing is owed.
func (s State) Next(l Limit) time.Duration {
	over := s.Units - l.Burst // a bucket in debt first comes back below its burst
	switch {
	case s.Units == 0 && s.Frac == 0:
		return 0
	case over >= 0:
		return timeFor(l, over+1, s.Frac)
	case s.Frac > 0:
		return timeFor(l, 0, s.Frac)
	}
	return timeFor(l, 1, 0)
}

// Idle reports whether nothing is owed.
func (s State) Idle() bool { return s.Units == 0 && s.Frac == 0 }

// Status returns the limit as it stands at s.At.
func (s State) Status(l Scoped) Status {
	return Status{Scoped: l, Remaining: s.Remaining(l.Limit), Reset: s.Reset(l.Limit), Next: s.Next(l.Limit)}
}

// timeFor returns how long units + frac/window take to decay, rounded up and
// capped at the largest Duration.
func timeFor(l Limit, units, frac int64) time.Duration {
	hi, lo := bits.Mul64(uint64(units), uint64(l.Window))
	lo, carry := bits.Add64(lo, uint64(frac)+uint64(l.Limit)-1, 0)
	hi += carry
	if hi >= uint64(l.Limit) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(hi, lo, uint64(l.Limit))
	if q > math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(q)
}
