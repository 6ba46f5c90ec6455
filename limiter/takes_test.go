package limiter

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/limiter/bucket"
)

func perSeconds(n int64, window time.Duration) bucket.Scoped {
	return bucket.NewScoped("llm", bucket.Limit{Unit: bucket.Tokens, Limit: n, Burst: n, Window: window}, bucket.SourceTier)
}

// What a take has left in its bucket may have come back, and others may owe what is there
// now. Then a settlement or a release gives nothing back.
func TestNothingIsGivenBackTwice(t *testing.T) {
	for name, s := range map[string]bucket.Settlement{"settled": {Tokens: 100}, "released": {Release: true}} {
		l, now := reserving(perSeconds(1000, 2*time.Second))
		first := take(t, l, bucket.Check{Account: "a", Tokens: 900, Reserve: true}).Reservation
		*now += 2400 * time.Millisecond
		if d := take(t, l, bucket.Check{Account: "a", Tokens: 800}); d.Limits[0].Remaining != 200 {
			t.Fatalf("%s: %d left, want 200", name, d.Limits[0].Remaining)
		}
		s.Account, s.Reservation = "a", first
		settle(t, l, &s)
		if got := left(t, l, 0); got != 200 {
			t.Errorf("%s: %d left, want 200: the first take had come back", name, got)
		}
	}
}

// Streams of which each is settled after its estimate has come back multiply no limit.
func TestLateSettlementsOfManyStreams(t *testing.T) {
	l, now := reserving(perSeconds(30_000, time.Minute))
	l.cfg.Reservations.Most = 10
	var ids []string
	for range 4 {
		ids = append(ids, take(t, l, bucket.Check{Account: "a", Tokens: 30_000, Reserve: true}).Reservation)
		*now += time.Minute
	}
	used := int64(0)
	spend := func(n int64) {
		if d := take(t, l, bucket.Check{Account: "a", Tokens: n}); d.Reason == bucket.OK {
			used += n
		}
	}
	spend(30_000)
	for _, id := range ids {
		settle(t, l, &bucket.Settlement{Account: "a", Reservation: id, Tokens: 500})
		spend(29_500)
	}
	if used != 30_000 {
		t.Errorf("%d used at once, want 30000", used)
	}
}

// A settlement gives nothing back to a bucket of the other algorithm, nor to one that was
// begun since, and does not replace it. Use above a reservation is owed all the same.
func TestSettlementsAcrossAChangeOfTheAlgorithm(t *testing.T) {
	for _, algorithm := range []bucket.Algorithm{bucket.TokenBucket, bucket.SlidingWindow} {
		limit := perMinute("llm", bucket.Tokens, 1000)
		limit.Algorithm = algorithm
		l, rules, _ := newLocal(limit)
		n := 0
		l.cfg.Reservations = Reservations{TTL: time.Minute, Most: 9, NewID: func(string) string { n++; return fmt.Sprint("r-", n) }}
		for range 2 {
			take(t, l, bucket.Check{Account: "a", Tokens: 100, Reserve: true})
		}
		limit.Algorithm = bucket.TokenBucket + bucket.SlidingWindow - algorithm
		rules.ruling.Limits = []bucket.Scoped{limit}
		take(t, l, bucket.Check{Account: "a", Tokens: 1000})
		settle(t, l, &bucket.Settlement{Account: "a", Reservation: "r-1", Release: true})
		if got := left(t, l, 0); got != 0 {
			t.Errorf("%v: %d left after a release, want 0", algorithm, got)
		}
		settle(t, l, &bucket.Settlement{Account: "a", Reservation: "r-2", Tokens: 400})
		if d := take(t, l, bucket.Check{Account: "a", Tokens: 1}); d.Reason != bucket.RateLimited || d.RetryAfter < 18*time.Second {
			t.Errorf("%v: %+v, want 300 in debt", algorithm, d)
		}
	}
	limit := perMinute("llm", bucket.Tokens, 1000)
	l, rules, _ := newLocal(limit)
	l.cfg.Reservations = Reservations{TTL: time.Minute, Most: 9, NewID: func(string) string { return "r" }}
	take(t, l, bucket.Check{Account: "a", Tokens: 100, Reserve: true})
	for _, algorithm := range []bucket.Algorithm{bucket.SlidingWindow, bucket.TokenBucket} {
		limit.Algorithm = algorithm
		rules.ruling.Limits = []bucket.Scoped{limit}
		take(t, l, bucket.Check{Account: "a", Tokens: 700})
	}
	settle(t, l, &bucket.Settlement{Account: "a", Reservation: "r", Release: true})
	if got := left(t, l, 0); got != 300 {
		t.Errorf("%d left of a bucket begun since, want 300", got)
	}
}

// Use above a reservation is owed up to ten bursts; the rest is forgiven and counted.
func TestDebtsOfSettlementsAreBounded(t *testing.T) {
	l, now := reserving(perMinute("llm", bucket.Tokens, 1000))
	l.cfg.Reservations.Most = 10
	for i, used := range []int64{6000, bucket.MaxCost, bucket.MaxCost} {
		if i == 2 {
			*now += 9 * time.Minute // 9000 have come back
		}
		l.shard("a").reserve("r", &reservation{account: "a", taken: *now, holds: []Hold{{Scope: "llm", Limit: perMinute("llm", bucket.Tokens, 1000).Limit}}})
		settle(t, l, &bucket.Settlement{Account: "a", Reservation: "r", Tokens: used})
		if got, want := l.entryOf("a").state.Units, []int64{6000, 10_000, 10_000}[i]; got != want {
			t.Errorf("%d owed after %d settlements, want %d", got, i+1, want)
		}
	}
	if got := l.ForgivenUnits.Load(); got != 2*bucket.MaxCost-4000-9000 {
		t.Errorf("%d are forgiven", got)
	}
}

// Takes are kept only while a reservation can be settled and the bucket owes.
func TestTakesEndWithTheirReservationAndTheirBucket(t *testing.T) {
	l, now := reserving(perSeconds(1000, time.Hour))
	for range 3 {
		take(t, l, bucket.Check{Account: "a", Tokens: 300, Reserve: true})
	}
	settle(t, l, &bucket.Settlement{Account: "a", Reservation: "r-1", Tokens: 300})
	settle(t, l, &bucket.Settlement{Account: "a", Reservation: "r-2", Release: true})
	if l.entryOf("a").takes == nil {
		t.Fatal("the third take is not open")
	}
	*now += 10 * time.Minute
	l.Sweep()
	if e := l.entryOf("a"); e.takes != nil {
		t.Errorf("%d takes are open after all reservations have ended", e.takes.Len())
	}

	l, now = reserving(perSeconds(1000, time.Second))
	take(t, l, bucket.Check{Account: "a", Tokens: 1000, Reserve: true})
	*now += time.Second
	if l.Sweep(); l.Len() != 0 {
		t.Error("a bucket that owes nothing is kept for a reservation")
	}
	take(t, l, bucket.Check{Account: "a", Tokens: 900, Reserve: true})
	settle(t, l, &bucket.Settlement{Account: "a", Reservation: "r-1", Release: true})
	if got := left(t, l, 0); got != 100 {
		t.Errorf("%d left, want 100: the bucket of the reservation is gone", got)
	}
	settle(t, l, &bucket.Settlement{Account: "a", Reservation: "r-2", Release: true})
	if got := left(t, l, 0); got != 1000 {
		t.Errorf("%d left, want 1000", got)
	}
}

// entryOf returns the first bucket of an account.
func (l *Local) entryOf(account string) *entry { return &l.shard(account).accounts[account].entries[0] }

// past is all that ever happened to a bucket, in order; settlements change what was taken
// then. Replayed, it gives the debt that is right.
type past []*pastTake

type pastTake struct {
	at    time.Duration
	limit bucket.Limit
	units int64
	later bool // use above a reservation: the rate of the bucket stays
}

func (h past) owed(at time.Duration) (s bucket.State) {
	for _, e := range h {
		rate := s.Rate
		s = s.Decay(e.limit, e.at)
		s.At = e.at
		if e.later && rate > 0 {
			s.Rate = rate
		}
		s = s.Add(e.units)
	}
	s = s.Decay(bucket.Limit{Limit: max(1, s.Rate), Window: time.Second}, at)
	s.At = at
	return s
}

// history runs random takes, settlements, releases and expiries of one bucket on three
// nodes. The partition is handed over now and then, or, with faults, taken over without
// the reservations. With faults the limit may change too, and then no settlement is above
// its reservation: how fast such use comes back until the next check is not exact.
type history struct {
	*trio
	t       *rapid.T
	owner   int
	past    past
	open    map[string]*pastTake
	faults  bool
	changes bool
	limit   bucket.Scoped
	expires time.Duration
}

func runHistory(t *rapid.T, faults bool) {
	w := &history{t: t, faults: faults, open: map[string]*pastTake{}, expires: 20 * time.Second}
	w.changes = faults && rapid.Bool().Draw(t, "changes")
	n := rapid.Int64Range(1, 200).Draw(t, "limit")
	w.limit = perSeconds(n, time.Second)
	w.trio = newTrio(w.limit)
	w.rule.Mode = bucket.Async
	next := 0
	for _, l := range w.nodes {
		l.cfg.Reservations = Reservations{TTL: w.expires, Most: 100, NewID: func(string) string { next++; return fmt.Sprint("r-", next) }}
	}
	for range rapid.IntRange(1, 80).Draw(t, "steps") {
		if faults {
			w.now += time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(t, "pause"))
		} else {
			w.now += time.Second * time.Duration(rapid.Int64Range(0, 2).Draw(t, "seconds"))
		}
		w.step()
		w.compare()
	}
}

func (w *history) compare() {
	var got bucket.State
	if e := w.nodes[w.owner].parts[0].accounts["a"]; e != nil {
		got = decay(e.entries[0].state, time.Second, w.nodes[w.owner].now())
	}
	want := w.past.owed(w.now)
	if over := (got.Units-want.Units)*int64(time.Second) + got.Frac - want.Frac; over < 0 || !w.faults && over != 0 {
		w.t.Fatalf("%d + %d owed, the replayed history owes %d + %d", got.Units, got.Frac, want.Units, want.Frac)
	}
}

func (w *history) step() {
	switch kind := rapid.IntRange(0, 9).Draw(w.t, "kind"); {
	case kind == 9 && w.changes && rapid.Bool().Draw(w.t, "change"):
		n := rapid.Int64Range(1, 200).Draw(w.t, "limit")
		w.limit = perSeconds(n, time.Second)
		for _, l := range w.nodes {
			l.rules.(*fixed).ruling.Limits = []bucket.Scoped{w.limit}
		}
	case kind == 9:
		w.move()
	case kind == 8:
		if l := w.nodes[w.owner]; l.Len() > 0 {
			if l.Sweep(); l.Len() == 0 {
				w.touch()
			}
		}
	case kind >= 5:
		w.settle()
	default:
		w.take(kind > 0)
	}
}

// touch decays the bucket by the rate that it knows, as a move does and the end of an empty
// bucket: a new limit has not reached it before a check.
func (w *history) touch() {
	w.past = append(w.past, &pastTake{at: w.now, limit: perSeconds(bucket.MaxLimit, time.Second).Limit, later: true})
}

func (w *history) take(reserve bool) {
	l := w.nodes[w.owner]
	c := bucket.Check{Account: "a", Tokens: rapid.Int64Range(1, w.limit.Burst).Draw(w.t, "units"), Reserve: reserve}
	var d bucket.Decision
	r, _, _ := l.open(w.t.Context(), &c, &d)
	if out, _ := l.Try(&c, &r, &d); out != Decided {
		w.t.Fatalf("outcome %d", out)
	}
	if d.Reason != bucket.OK {
		return
	}
	e := &pastTake{at: w.now, limit: w.limit.Limit, units: c.Tokens}
	w.past = append(w.past, e)
	if reserve {
		w.open[d.Reservation] = e
	}
}

func (w *history) settle() {
	if len(w.open) == 0 {
		return
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(w.open))).Draw(w.t, "reservation")
	e := w.open[id]
	most := e.units
	if !w.changes {
		most += 20
	}
	s := bucket.Settlement{Account: "a", Reservation: id, Tokens: rapid.Int64Range(0, most).Draw(w.t, "used")}
	if s.Release = rapid.IntRange(0, 3).Draw(w.t, "release") == 0; s.Release {
		s.Tokens = 0
	}
	l := w.nodes[w.owner]
	forgiven := l.ForgivenUnits.Load()
	what, err := l.Settle(&s)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.faults && what == bucket.SettledUnknown {
		return
	}
	delete(w.open, id)
	late := w.now-e.at >= w.expires
	switch {
	case what == bucket.SettledNow == late:
		w.t.Fatalf("settled %s after its take: %v", w.now-e.at, what)
	case late:
	case s.Tokens <= e.units:
		e.units = s.Tokens
	default:
		more := &pastTake{at: w.now, limit: e.limit, later: true}
		w.past = append(w.past, more)
		most := max(0, debtBursts*e.limit.Burst-w.past.owed(w.now).Units)
		if w.faults { // more may be owed already
			most = s.Tokens - e.units - int64(l.ForgivenUnits.Load()-forgiven)
		}
		more.units = min(s.Tokens-e.units, most)
	}
}

// move hands the partition over to the next node, or lets that take over.
func (w *history) move() {
	from, to := w.owner, (w.owner+1)%3
	third := (w.owner + 2) % 3
	w.owner = to
	w.touch()
	if w.faults && rapid.Bool().Draw(w.t, "lost") {
		w.adopt(holders(name(to), name(third), name(from)))
		for _, k := range w.nodes[from].ExportBuckets(0) {
			w.nodes[to].MergeBucket(k)
		}
		w.nodes[to].FinishRecovery(w.epoch, []int{0})
		return
	}
	p := holders(name(from), name(to), name(third))
	p.Moving = true
	w.adopt(p)
	w.nodes[from].BeginExport(w.epoch, []int{0})
	m := w.nodes[from].ExportPartition(0)
	if w.faults && rapid.Bool().Draw(w.t, "old") { // the owner is of an earlier version
		for i := range m.Reservations {
			for k := range m.Reservations[i].Holds {
				m.Reservations[i].Holds[k].Take, m.Reservations[i].Holds[k].Low = 0, 0
			}
		}
	}
	if w.nodes[to].ImportPartitions(w.epoch, m) != 1 {
		w.t.Fatal("not imported")
	}
	w.adopt(holders(name(to), name(from), name(third)))
	if !w.faults || rapid.Bool().Draw(w.t, "dropped") {
		w.nodes[from].DropReservations([]int{0})
	}
}

// The debt after takes, settlements, releases, expiries and handoffs is exactly that of
// the replayed history. One second gives whole units back, and only whole seconds pass.
func TestCorrectionsAreThoseOfTheReplayedHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { runHistory(t, false) })
}

// With changed limits, with takeovers that lose reservations or let them come back, and
// with owners of an earlier version, the debt is never below that of the replayed
// history.
func TestCorrectionsNeverGiveBackTooMuch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { runHistory(t, true) })
}
