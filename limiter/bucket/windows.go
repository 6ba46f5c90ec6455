package bucket

import "time"

// The functions of this file compare and join windows of one bucket as of one instant.
// Their slots may begin at different instants, because they were counted by different
// clocks. Rounding never forgets a unit too early.

// Relative returns the window at now for a message, with Begin relative to now.
func (w Window) Relative(l Limit, now time.Duration) *Window {
	w = w.At(l, now)
	w.Begin -= now
	return &w
}

// Absolute returns a Relative window that arrives at now, by the clock of its
// receiver: its units leave later by the time that the message took.
func (w Window) Absolute(now time.Duration) Window {
	w.Begin += now
	return w
}

// sums calls fn, from the newest slot to the oldest, with the units that each of two
// windows still counts when all older ones have left. It returns the window of the
// results.
func (w Window) sums(o *Window, fn func(a, b int64) int64) (out Window) {
	var a, b, before int64
	for i := range w.Units {
		a, b = a+w.Units[i], b+o.Units[i]
		sum := fn(a, b)
		out.Units[i], before = sum-before, sum
	}
	return out
}

// Larger returns a window that counts at least as much as each of the two at every
// later instant. An empty window does not move its slots.
func (w Window) Larger(o Window) Window {
	switch (Window{}).Units {
	case o.Units:
		return w
	case w.Units:
		return o
	}
	out := w.sums(&o, func(a, b int64) int64 { return max(a, b) })
	out.Begin = max(w.Begin, o.Begin)
	return out
}

// Smaller returns a window that counts no more than either of the two at any later
// instant.
func (w Window) Smaller(o Window) Window {
	out := w.sums(&o, func(a, b int64) int64 { return min(a, b) })
	out.Begin = min(w.Begin, o.Begin)
	return out
}

// Join returns the window with the units of the other added, each until it is at least
// a window old. The slots of w stay where they are: if every join moved them, the
// units of w might never leave.
func (w Window) Join(o Window) Window {
	if w.Units == (Window{}).Units {
		return o
	}
	later := 0 // the other's slots end between two of w's
	if o.Begin > w.Begin {
		later = 1
	}
	for i, n := range o.Units {
		w.Units[max(0, i-later)] += n // the newest slot of the other counts in the newest of w
	}
	return w
}

// Exceeds reports whether the window counts more than the other at some later instant.
func (w *Window) Exceeds(o *Window) bool {
	var a, b, before int64
	for i := range w.Units {
		a, before, b = a+w.Units[i], b, b+o.Units[i]
		if o.Begin < w.Begin {
			if a > before { // the other's slot leaves before this one
				return true
			}
		} else if a > b {
			return true
		}
	}
	return false
}

// Newest returns the window of the last n units that were counted.
func (w Window) Newest(n int64) Window {
	return mapSums(w, func(sum int64) int64 { return min(sum, n) })
}

// Less returns the window without the last n units that were counted.
func (w Window) Less(n int64) Window {
	return mapSums(w, func(sum int64) int64 { return max(0, sum-n) })
}

// Part returns one of n parts of what counts, rounded up.
func (w Window) Part(n int64) Window {
	return mapSums(w, func(sum int64) int64 { return (sum + n - 1) / n })
}

func mapSums(w Window, fn func(sum int64) int64) Window {
	out := w.sums(&Window{}, func(sum, _ int64) int64 { return fn(sum) })
	out.Begin = w.Begin
	return out
}
