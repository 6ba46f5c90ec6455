package bucket

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Windows of different grids, moved to another clock, compared and joined: at every
// instant to come the result counts what it says.
func TestWindowsAreJoinedForEveryInstantToCome(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := Limit{Algorithm: SlidingWindow, Limit: 1000, Window: time.Duration(rapid.IntRange(1, 90).Draw(rt, "seconds")) * time.Second}
		now := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "now"))
		var list []taken // by both
		draw := func(name string) Window {
			w := Window{Begin: time.Duration(rapid.Int64Range(0, int64(now)).Draw(rt, name+" begins"))}
			at := max(0, now-2*l.Window)
			for range rapid.IntRange(0, 6).Draw(rt, name+" admits") {
				at += time.Duration(rapid.Int64Range(0, int64(now-at)).Draw(rt, name+" pause"))
				units := rapid.Int64Range(1, 9).Draw(rt, name+" takes")
				w.Add(l, units, at)
				list = append(list, taken{at, units})
			}
			return w.At(l, now)
		}
		a, b := draw("a"), draw("b")
		n := rapid.Int64Range(0, 20).Draw(rt, "n")
		off := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "off"))
		came := a.Relative(l, now).Absolute(now + off)
		larger, smaller, both := a.Larger(b), a.Smaller(b), a.Join(b)
		newest, less, part := a.Newest(n), a.Less(n), a.Part(n+1)
		exceeds := false
		use := func(w Window, at time.Duration) int64 { return w.Use(l, at) }
		for k := range 17 * 8 {
			later := now + time.Duration(k)*l.Window/16/7
			ua, ub := use(a, later), use(b, later)
			exceeds = exceeds || ua > ub
			if use(larger, later) < max(ua, ub) || use(smaller, later) > min(ua, ub) {
				rt.Fatalf("after %s: %d and %d, larger %d, smaller %d", later-now, ua, ub, use(larger, later), use(smaller, later))
			}
			var young int64
			for _, one := range list {
				if later-one.at < l.Window {
					young += one.units
				}
			}
			if use(both, later) < young {
				rt.Fatalf("after %s: %d of both, %d are no window old", later-now, use(both, later), young)
			}
			if use(newest, later) != min(n, ua) || use(less, later) != max(0, ua-n) || use(part, later) != (ua+n)/(n+1) {
				rt.Fatalf("after %s: %d, the newest %d of them %d, the others %d, a part %d", later-now, ua, n, use(newest, later), use(less, later), use(part, later))
			}
			if use(came, later+off) != ua {
				rt.Fatalf("after %s: %d, by another clock %d", later-now, ua, use(came, later+off))
			}
			// A sixteenth later at most, what rounding keeps has left too.
			if late := later + l.Window/16; use(larger, late) > max(ua, ub) || use(both, late) > ua+ub {
				rt.Fatalf("%s after: %d and %d have left, larger still %d, both %d", late-now, ua, ub, use(larger, late), use(both, late))
			}
		}
		if exceeds && !a.Exceeds(&b) {
			rt.Fatal("one exceeds the other, and does not say so")
		}
		if a.Exceeds(&larger) || !exceeds && a.Begin == b.Begin && a.Exceeds(&b) {
			rt.Fatal("one does not exceed the other, and says so")
		}
	})
}

// What joins a window again and again, by clocks that differ, keeps its slots where
// they are, and nothing leaves before it is a window old.
func TestJoinMovesNoSlot(t *testing.T) {
	l := Limit{Algorithm: SlidingWindow, Limit: 100, Burst: 100, Window: 16 * time.Second}
	var w Window
	w.Add(l, 10, 0)
	for i := range 40 {
		now := time.Duration(i) * 500 * time.Millisecond
		other := Window{Begin: now - time.Duration(i%3)*100*time.Millisecond, Units: [17]int64{1}}
		w = w.At(l, now).Join(other)
	}
	if got := w.Use(l, 20*time.Second); got != 32 {
		t.Errorf("%d count, want the 32 that have joined since 4 s", got)
	}
	w = Window{Units: [17]int64{10}}
	early := Window{Begin: 900 * time.Millisecond, Units: [17]int64{0, 5}} // counted before 900 ms
	w = w.Join(early)
	if got := w.Use(l, 16900*time.Millisecond); got != 15 {
		t.Errorf("%d count 16 s after 900 ms, want 15", got)
	}
}
