package bucket

import "time"

// What follows compares and joins windows of one bucket as they are at one
// instant. Their slots may begin at different instants, because they were
// counted by different clocks: whoever rounds, rounds so that nothing is
// forgotten too early.

// Relative returns the window, as it is at now, for a message: its Begin is relative
// to the sending.
func (w Window) Relative(l Limit, now time.Duration) *Window {
	w = w.At(l, now)
	w.Begin -= now
	return &w
}

// Absolute returns a window that was Sent, by the clock of who receives it at now: its
// units leave as much later as the message took.
func (w Window) Absolute(now time.Duration) Window {
	w.Begin += now
	return w
}

// sums calls fn, from the newest slot to the oldest, with what two windows still
// count when all that is older has left, and returns the window of its results.
func (w Window) sums(o *Window, fn func(a, b int64) int64) (out Window) {
	var a, b, before int64
	for i := range w.Units {
		a, b = a+w.Units[i], b+o.Units[i]
		sum := fn(a, b)
		out.Units[i], before = sum-before, sum
	}
	return out
}

// Larger returns what counts as much as each of the two windows at every instant
// to come. An empty one has no say in when that is.
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

// Smaller returns what counts no more than either of the two windows at any
// instant to come.
func (w Window) Smaller(o Window) Window {
	out := w.sums(&o, func(a, b int64) int64 { return min(a, b) })
	out.Begin = min(w.Begin, o.Begin)
	return out
}

// Join returns the window with what the other counts too, each unit until it is a
// window old at least. Its slots stay where they are: were they moved by every one
// that joins, its own units might never leave.
func (w Window) Join(o Window) Window {
	if w.Units == (Window{}).Units {
		return o
	}
	later := 0 // the other's slots end between two of this one's
	if o.Begin > w.Begin {
		later = 1
	}
	for i, n := range o.Units {
		w.Units[max(0, i-later)] += n // of its newest all is of this one's newest too
	}
	return w
}

// Exceeds reports whether the window counts more than the other at some instant
// to come.
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
