package bucket

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Windows of different grids, told to another clock, compared and joined: at every
// instant to come the result counts what it says.
func TestWindowsAreJoinedForEveryInstantToCome(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := Limit{Algorithm: SlidingWindow, Limit: 1000, Window: time.Duration(rapid.IntRange(1, 90).Draw(rt, "seconds")) * time.Second}
		now := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "now"))
		draw := func(name string) Window {
			w := Window{Begin: time.Duration(rapid.Int64Range(0, int64(now)).Draw(rt, name+" begins"))}
			at := max(0, now-2*l.Window)
			for range rapid.IntRange(0, 6).Draw(rt, name+" admits") {
				at += time.Duration(rapid.Int64Range(0, int64(now-at)).Draw(rt, name+" pause"))
				w.Add(l, rapid.Int64Range(1, 9).Draw(rt, name+" takes"), at)
			}
			return w.At(l, now)
		}
		a, b := draw("a"), draw("b")
		n := rapid.Int64Range(0, 20).Draw(rt, "n")
		off := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "off"))
		came := a.Sent(l, now).Came(now + off)
		larger, smaller, both := a.Larger(b), a.Smaller(b), a.Join(b)
		newest, less, part := a.Newest(n), a.Less(n), a.Part(n+1)
		exceeds := false
		use := func(w Window, at time.Duration) int64 { return w.Use(l, at) }
		for k := range 17 * 8 {
			later := now + time.Duration(k)*l.Window/16/7
			ua, ub := use(a, later), use(b, later)
			exceeds = exceeds || ua > ub
			if use(larger, later) < max(ua, ub) || use(smaller, later) > min(ua, ub) || use(both, later) < ua+ub {
				rt.Fatalf("after %s: %d and %d, larger %d, smaller %d, both %d", later-now, ua, ub, use(larger, later), use(smaller, later), use(both, later))
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
