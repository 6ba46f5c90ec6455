package bucket

import "time"

// slots is how many parts of a window a Window counts in, and one more that is
// on its way out.
const slots = 16

// Window is what was used of a sliding window: units by sixteenths of the
// window. A unit counts until its whole sixteenth is a window old, so never more
// than the limit is admitted in any window, and room comes back up to a
// sixteenth late. The zero Window is empty.
type Window struct {
	Begin time.Duration    // of the newest slot, monotonic
	Units [slots + 1]int64 // by slot, the newest first
}

// step returns the length of a slot. Windows are whole seconds, which sixteen
// divides.
func step(l Limit) time.Duration { return l.Window / slots }

// advance lets go of what is too old at now.
func (w *Window) advance(l Limit, now time.Duration) {
	n := int64((now - w.Begin) / step(l))
	if now < w.Begin || n == 0 {
		return
	}
	w.Begin += time.Duration(n) * step(l)
	for i := len(w.Units) - 1; i >= 0; i-- {
		if int64(i) >= n {
			w.Units[i] = w.Units[int64(i)-n]
		} else {
			w.Units[i] = 0
		}
	}
}

// At returns the window as it is at now, which is not before it was touched.
func (w Window) At(l Limit, now time.Duration) Window {
	w.advance(l, now)
	return w
}

func (w *Window) used() (sum int64) {
	for _, n := range w.Units {
		sum += n
	}
	return sum
}

// Use returns the units that count at now.
func (w *Window) Use(l Limit, now time.Duration) int64 {
	w.advance(l, now)
	return w.used()
}

// Add counts units at now.
func (w *Window) Add(l Limit, cost int64, now time.Duration) {
	w.advance(l, now)
	w.Units[0] += cost
}

// Correct changes by delta what was counted at an instant, never to below
// nothing. What has left the window is left alone, and what is added counts
// from now.
func (w *Window) Correct(l Limit, delta int64, at, now time.Duration) {
	w.advance(l, now)
	i := time.Duration(0)
	if at < w.Begin && delta < 0 {
		i = (w.Begin - at + step(l) - 1) / step(l)
	}
	if int(i) < len(w.Units) {
		w.Units[i] = max(0, w.Units[i]+delta)
	}
}

// Wait returns how long from now until cost fits, were nothing else taken; 0
// when it fits now, and meaningless when cost is above the limit.
func (w *Window) Wait(l Limit, cost int64, now time.Duration) time.Duration {
	w.advance(l, now)
	over := w.used() + cost - l.Limit
	for i := slots; over > 0 && i >= 0; i-- {
		if over -= w.Units[i]; over <= 0 {
			return w.leaves(l, i) - now
		}
	}
	return 0
}

// leaves returns the instant at which a slot does not count any more.
func (w *Window) leaves(l Limit, slot int) time.Duration {
	return w.Begin + time.Duration(slots+1-slot)*step(l)
}

// Status returns the limit as it stands at now.
func (w *Window) Status(l Scoped, now time.Duration) Status {
	w.advance(l.Limit, now)
	used := w.used()
	s := Status{Scoped: l, Remaining: max(0, l.Limit.Limit-used)}
	for i := range w.Units {
		if w.Units[i] > 0 {
			s.Reset = w.leaves(l.Limit, i) - now
			break
		}
	}
	if used > 0 {
		s.Next = w.Wait(l.Limit, s.Remaining+1, now)
	}
	return s
}
