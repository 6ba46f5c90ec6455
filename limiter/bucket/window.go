package bucket

import "time"

// slots is the number of parts of a window. A Window counts in one more: the
// oldest still counts in part.
const slots = 16

// Window is the use of a sliding window: units by sixteenths of the window. A unit
// counts until its whole sixteenth is a window old. So no more than the limit is
// admitted in any window, and room comes back up to a sixteenth late. The zero
// Window is empty.
type Window struct {
	Begin time.Duration    // of the newest slot, monotonic
	Units [slots + 1]int64 // by slot, the newest first
}

// step returns the length of a slot. Windows are whole seconds, which sixteen
// divides.
func step(l Limit) time.Duration { return l.Window / slots }

// Advance moves the window on to now: slots that do not count any more are dropped.
// An instant before Begin changes nothing.
func (w *Window) Advance(l Limit, now time.Duration) {
	n := w.passed(l, now)
	if n == 0 {
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

// passed returns how many slots have begun by now since the newest one did.
func (w *Window) passed(l Limit, now time.Duration) int64 {
	if now < w.Begin {
		return 0
	}
	return int64((now - w.Begin) / step(l))
}

// counting returns the slots that still count at now, the newest first.
func (w *Window) counting(l Limit, now time.Duration) []int64 {
	return w.Units[:max(0, int64(len(w.Units))-w.passed(l, now))]
}

// At returns the window advanced to now.
func (w Window) At(l Limit, now time.Duration) Window {
	w.Advance(l, now)
	return w
}

func sum(units []int64) (n int64) {
	for _, u := range units {
		n += u
	}
	return n
}

// Use returns the units that count at now. Use, Wait and Status change nothing.
func (w *Window) Use(l Limit, now time.Duration) int64 { return sum(w.counting(l, now)) }

// Add counts units at now.
func (w *Window) Add(l Limit, cost int64, now time.Duration) {
	w.Advance(l, now)
	w.Units[0] += cost
}

// Correct changes by delta what was counted at an instant, to no less than
// nothing. Units that have left the window stay as they are, and added units count
// from now.
func (w *Window) Correct(l Limit, delta int64, at, now time.Duration) {
	w.Advance(l, now)
	i := time.Duration(0)
	if at < w.Begin && delta < 0 {
		i = (w.Begin - at + step(l) - 1) / step(l)
	}
	if int(i) < len(w.Units) {
		w.Units[i] = max(0, w.Units[i]+delta)
	}
}

// Wait returns how long from now until cost fits if nothing else is taken. It
// returns 0 when cost fits now; the result has no meaning for a cost above the
// limit.
func (w *Window) Wait(l Limit, cost int64, now time.Duration) time.Duration {
	units := w.counting(l, now)
	over := sum(units) + cost - l.Limit
	for i := len(units) - 1; over > 0 && i >= 0; i-- {
		if over -= units[i]; over <= 0 {
			return w.leaves(l, i) - now
		}
	}
	return 0
}

// leaves returns the instant at which a slot stops counting.
func (w *Window) leaves(l Limit, slot int) time.Duration {
	return w.Begin + time.Duration(slots+1-slot)*step(l)
}

// Status returns the limit as it stands at now.
func (w *Window) Status(l Scoped, now time.Duration) Status {
	units := w.counting(l.Limit, now)
	used := sum(units)
	s := Status{Scoped: l, Remaining: max(0, l.Limit.Limit-used)}
	for i := range units {
		if units[i] > 0 {
			s.Reset = w.leaves(l.Limit, i) - now
			break
		}
	}
	if used > 0 {
		s.Next = w.Wait(l.Limit, s.Remaining+1, now)
	}
	return s
}
