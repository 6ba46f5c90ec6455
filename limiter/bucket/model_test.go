package bucket_test

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/limiter/bucket"
)

// model is the same bucket in exact fractions: slow, and too simple to be
// wrong.
type model struct {
	used *big.Rat // units
	rate int64    // 0 before the first touch
	at   time.Duration
}

func newModel() *model { return &model{used: new(big.Rat)} }

// decayed returns what is owed at now.
func (m *model) decayed(l bucket.Limit, now time.Duration) *big.Rat {
	rate := l.Limit
	if m.rate != 0 {
		rate = min(rate, m.rate)
	}
	dt := max(0, now-m.at)
	back := new(big.Rat).Mul(ratio(int64(dt), int64(l.Window)), ratio(rate, 1))
	left := new(big.Rat).Sub(m.used, back)
	if left.Sign() < 0 {
		left.SetInt64(0)
	}
	return left
}

func (m *model) touch(l bucket.Limit, now time.Duration) {
	m.used, m.rate, m.at = m.decayed(l, now), l.Limit, max(m.at, now)
}

func (m *model) fits(l bucket.Limit, now time.Duration, cost int64) bool {
	sum := new(big.Rat).Add(m.decayed(l, now), ratio(cost, 1))
	return sum.Cmp(ratio(l.Burst, 1)) <= 0
}

// remaining returns max(0, floor(burst - used)).
func (m *model) remaining(l bucket.Limit) int64 {
	free := new(big.Rat).Sub(ratio(l.Burst, 1), m.used)
	if free.Sign() < 0 {
		return 0
	}
	return new(big.Int).Quo(free.Num(), free.Denom()).Int64()
}

func ratio(a, b int64) *big.Rat { return big.NewRat(a, b) }

func limits(t *rapid.T, label string, window time.Duration) bucket.Limit {
	size := rapid.OneOf(rapid.Int64Range(1, 10), rapid.Int64Range(1, 10_000), rapid.Int64Range(1, bucket.MaxLimit))
	l := bucket.Limit{Limit: size.Draw(t, label), Window: window}
	l.Burst = l.Limit
	if rapid.Bool().Draw(t, label+" has a burst of its own") {
		l.Burst = size.Draw(t, label+" burst")
	}
	if err := l.Validate(); err != nil {
		t.Fatal(err)
	}
	return l
}

var (
	windows = rapid.Custom(func(t *rapid.T) time.Duration {
		most := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, bucket.MaxWindow}).Draw(t, "at most")
		return time.Second * time.Duration(rapid.Int64Range(1, int64(most/time.Second)).Draw(t, "seconds"))
	})
	pauses = rapid.OneOf(
		rapid.Just(int64(0)),
		rapid.Int64Range(0, 1000),
		rapid.Int64Range(0, int64(time.Second)),
		rapid.Int64Range(0, int64(time.Hour)),
		rapid.Int64Range(0, int64(2*bucket.MaxWindow)),
	)
)

func costs(l bucket.Limit) *rapid.Generator[int64] {
	return rapid.OneOf(
		rapid.Int64Range(0, 3),
		rapid.Int64Range(0, l.Burst),
		rapid.Just(l.Burst),
		rapid.Int64Range(0, bucket.MaxCost),
	)
}

// TestAgainstTheModel drives a bucket and the model through the same times,
// costs and changes of the limit, and compares all that can be seen.
func TestAgainstTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := limits(t, "limit", windows.Draw(t, "window"))
		var s bucket.State
		m := newModel()
		now := time.Duration(0)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now += time.Duration(pauses.Draw(t, "pause"))
			if rapid.IntRange(0, 5).Draw(t, "change") == 0 {
				l = limits(t, "changed limit", l.Window)
			}
			cost := costs(l).Draw(t, "cost")
			want := m.fits(l, now, cost)
			s = s.Decay(l, now)
			m.touch(l, now)
			if got := s.Room(l, cost); got != want {
				t.Fatalf("at %d: room for %d under %+v is %v, the model says %v (%+v, owes %s)", now, cost, l, got, want, s, m.used)
			}
			if want {
				s = s.Add(cost)
				m.used.Add(m.used, ratio(cost, 1))
			}
			if got, want := s.Remaining(l), m.remaining(l); got != want {
				t.Fatalf("at %d: remaining %d, the model says %d (%+v)", now, got, want, s)
			}
			checkWait(t, s, m, l, costs(l).Draw(t, "next cost"))
			checkReset(t, s, m, l)
			checkNext(t, s, m, l)
		}
	})
}

// checkWait: what fits after the wait does not fit one nanosecond earlier.
func checkWait(t *rapid.T, s bucket.State, m *model, l bucket.Limit, cost int64) {
	if cost > l.Burst {
		return
	}
	wait := s.Wait(l, cost)
	if wait == math.MaxInt64 || s.At > math.MaxInt64-wait {
		return // longer than a clock can count
	}
	if !m.fits(l, m.at+wait, cost) {
		t.Fatalf("%d does not fit after the wait of %d under %+v (%+v)", cost, wait, l, s)
	}
	if wait > 0 && m.fits(l, m.at+wait-1, cost) {
		t.Fatalf("%d fits one nanosecond before the wait of %d under %+v (%+v)", cost, wait, l, s)
	}
	if !s.Decay(l, s.At+wait).Room(l, cost) {
		t.Fatalf("the bucket has no room for %d after its own wait of %d under %+v (%+v)", cost, wait, l, s)
	}
}

func checkReset(t *rapid.T, s bucket.State, m *model, l bucket.Limit) {
	reset := s.Reset(l)
	if reset == math.MaxInt64 || s.At > math.MaxInt64-reset {
		return
	}
	if owed := m.decayed(l, m.at+reset); owed.Sign() != 0 {
		t.Fatalf("owes %s after the reset of %d under %+v (%+v)", owed, reset, l, s)
	}
	if reset > 0 && m.decayed(l, m.at+reset-1).Sign() == 0 {
		t.Fatalf("owes nothing before the reset of %d under %+v (%+v)", reset, l, s)
	}
}

// checkNext: after it there is one whole unit more, and not before.
func checkNext(t *rapid.T, s bucket.State, m *model, l bucket.Limit) {
	next, before := s.Next(l), m.remaining(l)
	if next == 0 {
		if !s.Idle() {
			t.Fatalf("next 0 of a bucket that owes: %+v", s)
		}
		return
	}
	if next == math.MaxInt64 || s.At > math.MaxInt64-next {
		return
	}
	after := &model{used: m.decayed(l, m.at+next)}
	early := &model{used: m.decayed(l, m.at+next-1)}
	if after.remaining(l) <= before || early.remaining(l) > before {
		t.Fatalf("remaining %d, one nanosecond before next %d, after next (%d) %d: %+v under %+v",
			before, early.remaining(l), next, after.remaining(l), s, l)
	}
}

// TestNeverMoreThanBurstAndRate: over every stretch of time, however it is
// cut, no more is admitted than the burst and what the rate brings back.
func TestNeverMoreThanBurstAndRate(t *testing.T) {
	type admission struct {
		at   time.Duration
		cost int64
	}
	rapid.Check(t, func(t *rapid.T) {
		l := limits(t, "limit", windows.Draw(t, "window"))
		var s bucket.State
		var admitted []admission
		now := time.Duration(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += time.Duration(pauses.Draw(t, "pause"))
			cost := costs(l).Draw(t, "cost")
			var ok bool
			if s, ok = take(s, l, now, cost); ok {
				admitted = append(admitted, admission{now, cost})
			}
		}
		for i, first := range admitted {
			sum := new(big.Rat)
			for _, last := range admitted[i:] {
				sum.Add(sum, ratio(last.cost, 1))
				back := new(big.Rat).Mul(ratio(int64(last.at-first.at), int64(l.Window)), ratio(l.Limit, 1))
				if most := back.Add(back, ratio(l.Burst, 1)); sum.Cmp(most) > 0 {
					t.Fatalf("from %d to %d admitted %s, at most %s under %+v", first.at, last.at, sum, most, l)
				}
			}
		}
	})
}
