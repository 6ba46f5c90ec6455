package bucket

import (
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// taken is one admission of the model.
type taken struct {
	at    time.Duration
	units int64
}

// Whatever is asked whenever: no window, wherever it starts, holds more than
// the limit; what is refused fits exactly when Wait says; and room is back at
// the latest a sixteenth after the window.
func TestWindowAgainstAList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := Limit{Algorithm: SlidingWindow, Limit: rapid.Int64Range(1, 50).Draw(rt, "limit"), Window: time.Duration(rapid.IntRange(1, 90).Draw(rt, "seconds")) * time.Second}
		l.Burst = l.Limit
		var w Window
		var list []taken
		var now time.Duration
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(l.Window)/4).Draw(rt, "pause"))
			cost := rapid.Int64Range(0, l.Limit).Draw(rt, "cost")
			wait := w.Wait(l, cost, now)
			if wait > 0 {
				early, then := w, w
				if early.Wait(l, cost, now+wait-1) != 1 || then.Wait(l, cost, now+wait) != 0 {
					rt.Fatalf("wait of %s is not exact", wait)
				}
				var young int64 // what no window and a sixteenth have passed for
				for _, a := range list {
					if now-a.at < l.Window+l.Window/slots {
						young += a.units
					}
				}
				if young+cost <= l.Limit {
					rt.Fatalf("%d refused with %d of %d used", cost, young, l.Limit)
				}
				continue
			}
			w.Add(l, cost, now)
			list = append(list, taken{now, cost})
			var sum int64
			for i := len(list) - 1; i >= 0 && now-list[i].at < l.Window; i-- {
				sum += list[i].units
			}
			if sum > l.Limit {
				rt.Fatalf("%d in one window, limit %d", sum, l.Limit)
			}
			s := w.Status(Scoped{Limit: l}, now)
			if s.Remaining < 0 || s.Remaining > l.Limit-sum || s.Reset < 0 || s.Next > s.Reset {
				rt.Fatalf("status %+v with %d used", s, sum)
			}
		}
	})
}

func TestWindowIsCorrected(t *testing.T) {
	l := Limit{Algorithm: SlidingWindow, Limit: 100, Burst: 100, Window: 16 * time.Second}
	for _, c := range []struct {
		name    string
		delta   int64
		at, now time.Duration
		want    int64
	}{
		{"given back", -30, time.Second, 2 * time.Second, 20},
		{"never below nothing", -80, time.Second, 2 * time.Second, 0},
		{"into debt", 90, time.Second, 2 * time.Second, 140},
		{"when it has left", -30, time.Second, 30 * time.Second, 0},
		{"another slot's is not touched", -30, 5 * time.Second, 6 * time.Second, 50},
	} {
		var w Window
		w.Add(l, 50, time.Second)
		w.Correct(l, c.delta, c.at, c.now)
		if got := w.Use(l, c.now); got != c.want {
			t.Errorf("%s: %d used, want %d", c.name, got, c.want)
		}
	}
}

// Use, Wait and Status change nothing: a window can be read from several goroutines,
// and a reader with a late clock does not make an earlier one wrong.
func TestWindowReadersChangeNothing(t *testing.T) {
	l := Limit{Algorithm: SlidingWindow, Limit: 100, Burst: 100, Window: 16 * time.Second}
	var w Window
	w.Add(l, 50, time.Second)
	w.Add(l, 20, 5*time.Second)
	was := w
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			now := time.Duration(5+9*i) * time.Second
			want := was.At(l, now)
			if got := w.Use(l, now); got != want.Use(l, now) {
				t.Errorf("at %s: %d used, want %d", now, got, want.Use(l, now))
			}
			if got := w.Wait(l, 60, now); got != want.Wait(l, 60, now) {
				t.Errorf("at %s: wait %s, want %s", now, got, want.Wait(l, 60, now))
			}
			if got := w.Status(Scoped{Limit: l}, now); got != want.Status(Scoped{Limit: l}, now) {
				t.Errorf("at %s: %+v, want %+v", now, got, want.Status(Scoped{Limit: l}, now))
			}
		})
	}
	wg.Wait()
	if w != was {
		t.Errorf("reading left %+v, want %+v", w, was)
	}
}
