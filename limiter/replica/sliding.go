package replica

import (
	"time"

	"quorate/limiter/bucket"
)

// A sliding window is published whole. Units to come count in its newest slot. An owner
// that admits in a later slot must publish again: a copy must not drop a unit earlier
// than the owner.

// windowAck is what one copy of a sliding window holds at least, and what was
// published to it last.
type windowAck struct{ least, published bucket.Window }

// after returns the window with cost more, without the units that need no copy.
func (u Use) after(l bucket.Limit, cost, free int64) bucket.Window {
	w := u.Window.At(l, u.At)
	w.Units[0] += cost
	return w.Less(free)
}

// windowReplicated is Replicated for a sliding window with the first n successors.
func (s *Stream) windowReplicated(l bucket.Limit, use Use, cost, free int64, n int) bool {
	then := use.after(l, cost, free)
	for i := range s.acks[:n] {
		if w := s.acks[i].window; w != nil {
			least := w.least.At(l, use.At)
			if !then.Exceeds(&least) {
				return true
			}
		}
	}
	return false
}

// knows reports whether the use with cost more was published to the copy, but for the
// units that the copy may be behind.
func (a *ack) knows(l bucket.Limit, use Use, cost, behind int64) bool {
	want := use.after(l, cost, behind)
	if a.window == nil {
		return want.Units == bucket.Window{}.Units
	}
	told := a.window.published.At(l, use.At)
	return !want.Exceeds(&told)
}

func (a *ack) publishWindow(l bucket.Limit, use Use, ahead int64) *bucket.Window {
	w := use.after(l, ahead, 0)
	if a.window == nil {
		a.window = &windowAck{}
		a.window.least.Begin = w.Begin
	}
	// What is published may replace what was acknowledged.
	if a.window.least = a.window.least.At(l, use.At); !noSmallest {
		a.window.least = a.window.least.Smaller(w)
	}
	a.window.published = w
	return w.Relative(l, use.At)
}

// PendingWindow returns the units of the usages of a sliding window that are not
// absorbed yet, as they count at now.
func PendingWindow(l bucket.Limit, reports []FallbackUsage, absorbed []SourceTotal, now time.Duration) (all bucket.Window) {
	all = all.At(l, now)
	for _, r := range reports {
		all = all.Join(r.window(l, r.missing(absorbed), now))
	}
	return all
}

// window returns the last n units of the usage of a sliding window, as they count at
// now.
func (r FallbackUsage) window(l bucket.Limit, n int64, now time.Duration) bucket.Window {
	if r.Sliding == nil {
		return bucket.Window{Begin: now, Units: [len(bucket.Window{}.Units)]int64{n}}
	}
	return r.Sliding.Absolute(now).At(l, now).Newest(n)
}

// Aged returns the usage after a while.
func (r FallbackUsage) Aged(l bucket.Limit, by time.Duration) FallbackUsage {
	r.Age += by
	if r.Sliding != nil {
		r.Sliding = r.Sliding.Relative(l, by)
	}
	return r
}
