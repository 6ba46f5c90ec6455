package bucket

import "time"

// slots is how many parts of a window a Window counts in, and one more that is
// on its way out.
const slots = 16

// Window is what was used of a sliding window: units by sixteenths of the
// window, on a grid of the monotonic clock. A unit counts until its whole
// sixteenth is a window old, so never more than the limit is admitted in any
// window, and room comes back up to a sixteenth late. The zero Window is
// empty.
type Window struct {
	last   int64 // number of the newest slot
	counts [slots + 1]int64
}

// slot returns the number of the slot that an instant lies in. Windows are
// whole seconds, which sixteen divides.
func slot(l Limit, now time.Duration) int64 { return int64(now / (l.Window / slots)) }

// advance lets go of what is too old at now.
func (w *Window) advance(l Limit, now time.Duration) {
	n := slot(l, now)
	if n <= w.last {
		return
	}
	for k := max(w.last+1, n-slots); k <= n; k++ {
		w.counts[k%(slots+1)] = 0
	}
	w.last = n
}

func (w *Window) used() (sum int64) {
	for _, n := range w.counts {
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
	w.counts[w.last%(slots+1)] += cost
}

// Correct changes by delta what was counted at an instant, never to below
// nothing. What has left the window is left alone, and what is added counts
// from now.
func (w *Window) Correct(l Limit, delta int64, at, now time.Duration) {
	w.advance(l, now)
	if delta >= 0 {
		w.counts[w.last%(slots+1)] += delta
		return
	}
	if k := slot(l, at); k >= 0 && k <= w.last && k >= w.last-slots {
		w.counts[k%(slots+1)] = max(0, w.counts[k%(slots+1)]+delta)
	}
}

// Wait returns how long from now until cost fits, were nothing else taken; 0
// when it fits now, and meaningless when cost is above the limit.
func (w *Window) Wait(l Limit, cost int64, now time.Duration) time.Duration {
	w.advance(l, now)
	over := w.used() + cost - l.Limit
	for k := w.last - slots; over > 0 && k <= w.last; k++ {
		if k < 0 {
			continue
		}
		if over -= w.counts[k%(slots+1)]; over <= 0 {
			return w.leaves(l, k) - now
		}
	}
	return 0
}

// leaves returns the instant at which slot k does not count any more.
func (w *Window) leaves(l Limit, k int64) time.Duration {
	return time.Duration(k+slots+1) * (l.Window / slots)
}

// Status returns the limit as it stands at now.
func (w *Window) Status(l Scoped, now time.Duration) Status {
	w.advance(l.Limit, now)
	used := w.used()
	s := Status{Scoped: l, Remaining: max(0, l.Limit.Limit-used)}
	for k := w.last; k >= 0 && k >= w.last-slots; k-- {
		if w.counts[k%(slots+1)] > 0 {
			s.Reset = w.leaves(l.Limit, k) - now
			break
		}
	}
	if used > 0 {
		s.Next = w.Wait(l.Limit, s.Remaining+1, now)
	}
	return s
}
