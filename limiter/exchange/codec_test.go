package exchange

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/limiter"
	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

// gen draws what nodes exchange, within its bounds and up to them.
type gen struct{ t *rapid.T }

func (g gen) int(least, most int64) int64 {
	return rapid.OneOf(rapid.Int64Range(least, most), rapid.SampledFrom([]int64{least, most})).Draw(g.t, "n")
}
func (g gen) span() time.Duration { return time.Duration(g.int(0, int64(100*365*24*time.Hour))) }

func (g gen) id() bucket.ID {
	return bucket.ID{
		Account: strings.Repeat("a", int(g.int(1, bucket.MaxAccount))), Scope: strings.Repeat("s", int(g.int(1, maxScope))),
		Unit: bucket.Unit(g.int(0, 1)), Algorithm: bucket.Algorithm(g.int(0, 1)),
		Window: time.Duration(g.int(1, int64(bucket.MaxWindow/time.Second))) * time.Second,
	}
}

func (g gen) state(window time.Duration) bucket.State {
	return bucket.State{Units: g.int(0, maxUnits), Frac: g.int(0, int64(window)-1), Rate: g.int(0, bucket.MaxLimit)}
}

func (g gen) sliding(id bucket.ID) *bucket.Window {
	if id.Algorithm != bucket.SlidingWindow {
		return nil
	}
	w := &bucket.Window{Begin: -time.Duration(g.int(0, int64(id.Window)))}
	for i := range w.Units {
		w.Units[i] = g.int(0, maxSlot)
	}
	return w
}

func (g gen) counts() []replica.SourceTotal {
	var out []replica.SourceTotal
	for range g.int(0, 3) {
		out = append(out, replica.SourceTotal{Source: uint64(g.int(0, math.MaxInt64)), Units: g.int(-maxUnits, maxUnits)})
	}
	return out
}

func (g gen) limit(id bucket.ID) bucket.Limit {
	l := id.Limit()
	l.Limit, l.Burst = g.int(1, bucket.MaxLimit), g.int(0, bucket.MaxLimit)
	return l
}

func (g gen) report(id bucket.ID) replica.FallbackUsage {
	return replica.FallbackUsage{
		SourceTotal: replica.SourceTotal{Source: uint64(g.int(0, math.MaxInt64)), Units: g.int(0, maxUnits)}, Age: g.span(),
		Fork: replica.Fork{Spent: g.int(-1, maxUnits), Units: g.int(-maxUnits, maxUnits), Age: g.span()}, Sliding: g.sliding(id),
	}
}

func (g gen) bound() (s limiter.UsageBound) {
	s.ID = g.id()
	s.Origin, s.Seq, s.State, s.Sliding = replica.OriginEpoch(g.int(0, math.MaxInt64)), uint64(g.int(0, math.MaxInt64)), g.state(s.Window), g.sliding(s.ID)
	s.Spent, s.Absorbed = g.int(-maxUnits, maxUnits), g.counts()
	return s
}

func (g gen) fallbackUsage() (t limiter.FallbackUsage) {
	t.ID = g.id()
	t.Limit, t.FallbackUsage = g.limit(t.ID), g.report(t.ID)
	return t
}

func (g gen) bucket() (k limiter.BucketSnapshot) {
	k.ID = g.id()
	k.State, k.Sliding, k.Empty = g.state(k.Window), g.sliding(k.ID), g.span()
	k.Spent, k.Absorbed, k.Limit = g.int(-maxUnits, maxUnits), g.counts(), g.limit(k.ID)
	for range g.int(0, 2) {
		k.Usages = append(k.Usages, g.report(k.ID))
	}
	return k
}

func (g gen) reserved() (r limiter.ReservationSnapshot) {
	id := g.id()
	r.ID, r.Account, r.Age = strings.Repeat("r", int(g.int(1, bucket.MaxReservation))), id.Account, g.span()
	for range g.int(0, 2) {
		id := g.id()
		h := limiter.Hold{Scope: id.Scope, Limit: g.limit(id), Units: g.int(0, bucket.MaxCost)}
		if h.Take = uint64(g.int(0, math.MaxInt64)); h.Take != 0 {
			h.Low = g.int(0, maxUnits)
		}
		r.Holds = append(r.Holds, h)
	}
	if g.int(0, 1) == 1 {
		r.Settled = &bucket.Settlement{Account: r.Account, Reservation: r.ID, Release: true, Tokens: g.int(0, bucket.MaxCost), Amount: g.int(0, math.MaxInt64)}
	}
	return r
}

// What nodes exchange is read as it was written.
func TestMessagesAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := gen{rt}
		w := newWriter()
		s, y, k, v := g.bound(), g.fallbackUsage(), g.bucket(), g.reserved()
		w.bound(&s)
		w.fallbackUsage(&y)
		w.bucket(&k)
		w.reservation(&v)
		b, err := w.Finish()
		if err != nil {
			rt.Fatal(err)
		}
		r := newReader(b)
		for _, c := range [][2]any{{r.bound(), s}, {r.fallbackUsage(), y}, {r.bucket(), k}, {r.reservation(), v}} {
			if !reflect.DeepEqual(c[0], c[1]) {
				rt.Fatalf("read %+v\nwrote %+v", c[0], c[1])
			}
		}
		if err := r.End(); err != nil {
			rt.Fatal(err)
		}
		// No byte less is enough.
		cut := newReader(b[:rapid.IntRange(0, len(b)-1).Draw(rt, "cut")])
		cut.bound()
		cut.fallbackUsage()
		cut.bucket()
		cut.reservation()
		if cut.End() == nil {
			rt.Fatal("a message that was cut is read")
		}
	})
}

// What is out of bounds is refused, before anything is allocated for it.
func TestWhatIsOutOfBoundsIsRefused(t *testing.T) {
	id := bucket.ID{Account: "a", Scope: "llm", Window: time.Minute}
	slide := id
	slide.Algorithm = bucket.SlidingWindow
	limit := bucket.Limit{Limit: 1, Burst: 1, Window: time.Minute}
	for name, c := range map[string]struct {
		write func(*writer)
		read  func(*reader)
	}{
		"a long account":                 {func(w *writer) { w.String(strings.Repeat("a", bucket.MaxAccount+1)) }, func(r *reader) { r.id() }},
		"a long scope":                   {func(w *writer) { w.String("a"); w.String(strings.Repeat("a", maxScope+1)) }, func(r *reader) { r.id() }},
		"an unknown algorithm":           {func(w *writer) { w.String("a"); w.String("s"); w.Uint(4); w.span(time.Minute) }, func(r *reader) { r.id() }},
		"no window":                      {func(w *writer) { w.id(bucket.ID{Account: "a", Scope: "s"}) }, func(r *reader) { r.id() }},
		"half a second":                  {func(w *writer) { w.id(bucket.ID{Account: "a", Window: 1500 * time.Millisecond}) }, func(r *reader) { r.id() }},
		"a window too long":              {func(w *writer) { w.id(bucket.ID{Account: "a", Window: bucket.MaxWindow + 1}) }, func(r *reader) { r.id() }},
		"units below nothing":            {func(w *writer) { w.state(bucket.State{Units: -1}) }, func(r *reader) { r.state(time.Minute) }},
		"too many units":                 {func(w *writer) { w.state(bucket.State{Units: maxUnits + 1}) }, func(r *reader) { r.state(time.Minute) }},
		"a fraction of a unit":           {func(w *writer) { w.state(bucket.State{Frac: int64(time.Minute)}) }, func(r *reader) { r.state(time.Minute) }},
		"a slot of debt":                 {func(w *writer) { w.sliding(slide, &bucket.Window{Units: [17]int64{5: -1}}) }, func(r *reader) { r.sliding(slide) }},
		"a slot too full":                {func(w *writer) { w.sliding(slide, &bucket.Window{Units: [17]int64{16: maxSlot + 1}}) }, func(r *reader) { r.sliding(slide) }},
		"a window long begun":            {func(w *writer) { w.sliding(slide, &bucket.Window{Begin: -time.Hour}) }, func(r *reader) { r.sliding(slide) }},
		"too many counts":                {func(w *writer) { w.Array(maxTotals + 1) }, func(r *reader) { r.totals() }},
		"counts without end":             {func(w *writer) { w.Array(math.MaxInt32) }, func(r *reader) { r.totals() }},
		"a report of a century":          {func(w *writer) { w.usage(id, replica.FallbackUsage{Age: 101 * 365 * 24 * time.Hour}) }, func(r *reader) { r.usage(id) }},
		"fallback usage without a limit": {func(w *writer) { w.fallbackUsage(&limiter.FallbackUsage{ID: id}) }, func(r *reader) { r.fallbackUsage() }},
		"a limit too large":              {func(w *writer) { w.limit(bucket.Limit{Limit: bucket.MaxLimit + 1}) }, func(r *reader) { r.limit(id) }},
		"a reservation of more": {func(w *writer) {
			w.reservation(&limiter.ReservationSnapshot{ID: "r", Account: "a", Holds: []limiter.Hold{{Scope: "s", Limit: limit, Units: bucket.MaxCost + 1}}})
		}, func(r *reader) { r.reservation() }},
		"a reservation's long id": {func(w *writer) {
			w.reservation(&limiter.ReservationSnapshot{ID: strings.Repeat("r", bucket.MaxReservation+1)})
		}, func(r *reader) { r.reservation() }},
	} {
		w := newWriter()
		c.write(w)
		b, err := w.Finish()
		if err != nil {
			t.Fatal(name, err)
		}
		// What follows is no reason to refuse it.
		r := newReader(append(b, bytes.Repeat([]byte{0}, 64)...))
		if c.read(r); r.Err() == nil {
			t.Errorf("%s is read", name)
		}
	}
}
