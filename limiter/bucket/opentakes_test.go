package bucket_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/limiter/bucket"
)

// history is all that ever happened to a bucket, in order. Replayed with what
// settlements have made of the takes, it gives the debt that is right.
type history []*happened

type happened struct {
	at     time.Duration
	limit  bucket.Limit
	number uint64 // of a take with a reservation; 0: of another
	units  int64  // taken then, as far as is known now
}

// owed returns the debt at an instant, by replaying the history. The arithmetic
// of State has a model of its own.
func (h history) owed(l bucket.Limit, at time.Duration) (s bucket.State) {
	for _, e := range h {
		s = s.Decay(e.limit, e.at)
		s.At = e.at
		s = s.Add(e.units)
	}
	return s.Decay(l, at)
}

// world is one bucket with its open takes beside its history.
type world struct {
	limit   bucket.Limit
	now     time.Duration
	state   bucket.State
	open    bucket.OpenTakes
	history history
	next    uint64
	pending map[uint64]*happened
}

func newWorld(l bucket.Limit) *world {
	return &world{limit: l, pending: map[uint64]*happened{}}
}

func (w *world) decay() {
	if w.state.Rate != w.limit.Limit { // from now on it decays at another rate
		w.history = append(w.history, &happened{at: w.now, limit: w.limit})
	}
	w.state = w.state.Decay(w.limit, w.now)
	w.state.At = w.now
	w.open.Observe(w.state.Units)
}

func (w *world) take(units int64, reserve bool) {
	w.decay()
	w.state = w.state.Add(units)
	e := &happened{at: w.now, limit: w.limit, units: units}
	if reserve {
		w.next++
		e.number = w.next
		w.open.Add(e.number, w.state.Units)
		w.pending[e.number] = e
	}
	w.history = append(w.history, e)
}

// settle settles a take to what was used of it: less is undone then, more is
// owed from now on.
func (w *world) settle(number uint64, used int64) {
	w.decay()
	e := w.pending[number]
	delete(w.pending, number)
	if used < e.units {
		w.state = w.state.Add(-w.open.Lower(number, e.units-used))
		e.units = used
	} else {
		w.state = w.state.Add(used - e.units)
		w.history = append(w.history, &happened{at: w.now, limit: w.limit, units: used - e.units})
	}
	w.open.End(number)
}

func (w *world) expire(number uint64) {
	w.decay()
	delete(w.pending, number)
	w.open.End(number)
}

// numbers returns the takes that can be settled, oldest first.
func (w *world) numbers() []uint64 {
	var out []uint64
	for n := range w.pending {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// step makes one random step; pause draws how much time passes before it.
func (w *world) step(t *rapid.T, pause *rapid.Generator[int64]) {
	w.now += time.Duration(pause.Draw(t, "pause"))
	open := w.numbers()
	switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); {
	case kind == 9:
		w.decay()
		w.history = append(w.history, &happened{at: w.now, limit: w.limit})
		w.limit = changed(t, w.limit)
	case kind >= 5 && len(open) > 0:
		n := rapid.SampledFrom(open).Draw(t, "number")
		used := rapid.Int64Range(0, w.pending[n].units+w.limit.Burst/8).Draw(t, "used")
		if kind == 8 {
			w.expire(n)
			return
		}
		w.settle(n, used)
	default:
		units := rapid.Int64Range(1, w.limit.Burst).Draw(t, "units")
		if w.decay(); w.state.Room(w.limit, units) {
			w.take(units, kind > 0)
		}
	}
}

// changed returns a limit that is higher or lower: a promotion, or a policy.
func changed(t *rapid.T, l bucket.Limit) bucket.Limit {
	l.Limit = rapid.Int64Range(1, 200).Draw(t, "limit")
	l.Burst = rapid.Int64Range(1, 200).Draw(t, "burst")
	return l
}

// In whole units the debt after any settlements is exactly that of the history
// replayed with what was used.
func TestSettlementsLeaveWhatTheReplayedHistoryOwes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// One second gives whole units back, and only whole seconds pass.
		w := newWorld(changed(t, bucket.Limit{Window: time.Second}))
		pause := rapid.Custom(func(t *rapid.T) int64 { return int64(time.Second) * rapid.Int64Range(0, 1).Draw(t, "seconds") })
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			w.step(t, pause)
			want := w.history.owed(w.limit, w.now)
			if w.decay(); want.Units != w.state.Units || want.Frac != w.state.Frac {
				t.Fatalf("%d owed, the replayed history owes %d", w.state.Units, want.Units)
			}
		}
	})
}

// At any instant the debt is not below that of the replayed history, and above it
// by less than a unit for each settlement.
func TestSettlementsOfFractionsAreRoundedDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(changed(t, bucket.Limit{Window: 7 * time.Second}))
		pause := rapid.Int64Range(0, int64(2*time.Second))
		settled := int64(0)
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			before := len(w.pending)
			w.step(t, pause)
			if len(w.pending) < before {
				settled++
			}
			want := w.history.owed(w.limit, w.now)
			w.decay()
			over := (w.state.Units-want.Units)*int64(w.limit.Window) + w.state.Frac - want.Frac
			if over < 0 || over > settled*int64(w.limit.Window) {
				t.Fatalf("the debt is %d/%d above that of the replayed history after %d settlements", over, w.limit.Window, settled)
			}
		}
	})
}

// What was really used of admitted takes is within burst + rate x time in every
// interval, where no settlement is above its reservation.
func TestWhatWasUsedKeepsTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := bucket.Limit{Limit: rapid.Int64Range(1, 200).Draw(t, "limit"), Window: time.Second}
		l.Burst = rapid.Int64Range(1, 200).Draw(t, "burst")
		w := newWorld(l)
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			w.now += time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "pause"))
			if open := w.numbers(); len(open) > 0 && rapid.Bool().Draw(t, "settle") {
				n := rapid.SampledFrom(open).Draw(t, "number")
				w.settle(n, rapid.Int64Range(0, w.pending[n].units).Draw(t, "used"))
				continue
			}
			units := rapid.Int64Range(1, l.Burst).Draw(t, "units")
			if w.decay(); w.state.Room(l, units) {
				w.take(units, true)
			}
		}
		for i, from := range w.history {
			used := int64(0)
			for _, e := range w.history[i:] {
				used += e.units
				if int64(e.at-from.at)*l.Limit < (used-l.Burst)*int64(l.Window) {
					t.Fatalf("%d used between %s and %s of %d + %d a second", used, from.at, e.at, l.Burst, l.Limit)
				}
			}
		}
	})
}

// Beyond the bound settlements give back less, never more.
func TestOpenTakesAreBounded(t *testing.T) {
	l := bucket.Limit{Limit: 1, Burst: 10_000, Window: time.Second}
	w := newWorld(l)
	for range 3 * bucket.MaxOpenTakes {
		w.take(1, true)
	}
	if n := w.open.Len(); n > bucket.MaxOpenTakes {
		t.Fatalf("%d elements, at most %d", n, bucket.MaxOpenTakes)
	}
	for _, n := range w.numbers() {
		w.settle(n, 0)
		if want := w.history.owed(l, w.now); want.Units > w.state.Units {
			t.Fatalf("%d owed, the replayed history owes %d", w.state.Units, want.Units)
		}
	}
	if w.open.Len() != 0 {
		t.Fatalf("%d elements are left", w.open.Len())
	}
	if w.state.Units > 3*bucket.MaxOpenTakes/2 {
		t.Errorf("%d of %d units are still owed after all were given back", w.state.Units, 3*bucket.MaxOpenTakes)
	}
}
