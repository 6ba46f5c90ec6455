package bucket

import "slices"

// MaxOpenTakes bounds the elements of an OpenTakes.
const MaxOpenTakes = 1024

// OpenTakes lists the takes of one token bucket whose reservations can still be
// settled, and how much of each the bucket still owes.
//
// A settlement below its reservation must undo what the bucket still owes of
// the take, and nothing of what has come back since: the history replayed with
// the smaller take leaves the debt lower by min(reserved - used, the lowest debt
// since the take). OpenTakes keeps that lowest debt without the history. Each
// element has the lowest debt between its take and the next element's, so the
// lowest debt since a take is the smallest of the elements from its own on, and a
// settlement lowers all of those, because the replayed history would have owed
// less there too.
//
// Elements of which a later one is lower can give back no more than that one,
// and are joined to it: what is left rises from the oldest to the newest, and no
// more than MaxOpenTakes elements are kept. Debts are whole units, rounded down;
// rates and bursts play no part and may change at any time.
//
// The zero OpenTakes is empty. Methods must not overlap.
type OpenTakes struct {
	takes []openTake // by last, rising; their lows rise too
}

// openTake is one or more neighbouring takes that share their lowest debt.
type openTake struct {
	last uint64 // number of the newest take in it
	open int    // takes in it that have not ended
	low  int64  // lowest debt since, up to the next element's first take
}

// Observe notes the debt in whole units. It must be called after each decay of
// the bucket and before the debt grows: between two calls the debt only falls.
func (o *OpenTakes) Observe(owed int64) {
	n := len(o.takes)
	if n == 0 || o.takes[n-1].low <= owed {
		return
	}
	o.takes[n-1].low = owed
	o.join(n - 1)
}

// Add appends a take. Numbers must rise; owed is the debt after the take.
func (o *OpenTakes) Add(number uint64, owed int64) {
	o.takes = append(o.takes, openTake{last: number, open: 1, low: owed})
	o.join(len(o.takes) - 1)
	if len(o.takes) > MaxOpenTakes {
		o.halve()
	}
}

// Lower undoes by units of a take as far as they are still owed, and returns by
// how much the debt falls: the caller subtracts it. A take is lowered once, and
// not after its End.
func (o *OpenTakes) Lower(number uint64, by int64) (back int64) {
	at, ok := o.find(number)
	if !ok || by <= 0 {
		return 0
	}
	// The lows rise, so that what the first element allows all later ones do.
	back = min(by, o.takes[at].low)
	for i := at; i < len(o.takes); i++ {
		o.takes[i].low -= back
	}
	o.join(at)
	return back
}

// End removes a take whose reservation was settled, released or has expired. The
// lowest debt since an older take is that take's own, so nothing else changes.
func (o *OpenTakes) End(number uint64) {
	at, ok := o.find(number)
	if !ok {
		return
	}
	if o.takes[at].open--; o.takes[at].open == 0 {
		o.takes = slices.Delete(o.takes, at, at+1)
	}
}

// Lowest returns the lowest debt since a take, which is the most that Lower gives
// back of it; ok is false for a number above all takes.
func (o *OpenTakes) Lowest(number uint64) (low int64, ok bool) {
	at, ok := o.find(number)
	if !ok {
		return 0, false
	}
	return o.takes[at].low, true
}

// Len returns the number of elements.
func (o *OpenTakes) Len() int { return len(o.takes) }

// find returns the element that a take is in.
func (o *OpenTakes) find(number uint64) (at int, ok bool) {
	at, _ = slices.BinarySearchFunc(o.takes, number, func(t openTake, n uint64) int {
		switch {
		case t.last < n:
			return -1
		case t.last > n:
			return 1
		}
		return 0
	})
	return at, at < len(o.takes)
}

// join joins to the element at an index all older neighbours that are not lower:
// they can give back no more than it can, before and after any correction.
func (o *OpenTakes) join(at int) {
	first := at
	for first > 0 && o.takes[first-1].low >= o.takes[at].low {
		first--
		o.takes[at].open += o.takes[first].open
	}
	o.takes = slices.Delete(o.takes, first, at)
}

// halve joins neighbours two by two, at the smaller of their lows: from then on
// the newer of the two gives back less than it could.
func (o *OpenTakes) halve() {
	kept := o.takes[:0]
	for i := 0; i < len(o.takes); i += 2 {
		t := o.takes[i]
		if i+1 < len(o.takes) {
			next := o.takes[i+1]
			t = openTake{last: next.last, open: t.open + next.open, low: min(t.low, next.low)}
		}
		kept = append(kept, t)
	}
	clear(o.takes[len(kept):])
	o.takes = kept
}
