package limiter

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"quorate/limiter/bucket"
)

func reserving(limits ...bucket.Scoped) (*Local, *time.Duration) {
	l, _, now := newLocal(limits...)
	n := 0
	l.cfg.Reservations = (Reservations{TTL: 10 * time.Minute, Most: 3, NewID: func(string) string { n++; return fmt.Sprint("r-", n) }})
	return l, now
}

func settle(t *testing.T, l *Local, s *bucket.Settlement) bucket.Settled {
	t.Helper()
	what, err := l.Settle(s)
	if err != nil {
		t.Fatalf("settle %+v: %v", s, err)
	}
	return what
}

func left(t *testing.T, l *Local, i int) int64 {
	t.Helper()
	return take(t, l, bucket.Check{Account: "a", DryRun: true}).Limits[i].Remaining
}

func TestSettleCorrectsTheTokensEitherWay(t *testing.T) {
	for _, c := range []struct {
		name      string
		algorithm bucket.Algorithm
		s         bucket.Settlement
		requests  int64
		tokens    int64
	}{
		{"less", bucket.TokenBucket, bucket.Settlement{Tokens: 30}, 9, 970},
		{"more", bucket.TokenBucket, bucket.Settlement{Tokens: 130}, 9, 870},
		{"into debt", bucket.TokenBucket, bucket.Settlement{Tokens: 5000}, 9, 0},
		{"as reserved", bucket.TokenBucket, bucket.Settlement{Tokens: 100}, 9, 900},
		{"released", bucket.TokenBucket, bucket.Settlement{Release: true}, 10, 1000},
		{"less of a window", bucket.SlidingWindow, bucket.Settlement{Tokens: 30}, 9, 970},
		{"more of a window", bucket.SlidingWindow, bucket.Settlement{Tokens: 130}, 9, 870},
		{"a window released", bucket.SlidingWindow, bucket.Settlement{Release: true}, 10, 1000},
	} {
		requests, tokens := perMinute("llm", bucket.Requests, 10), perMinute("llm", bucket.Tokens, 1000)
		requests.Algorithm, tokens.Algorithm = c.algorithm, c.algorithm
		l, _ := reserving(requests, tokens)
		d := take(t, l, bucket.Check{Account: "a", Requests: 1, Tokens: 100, Reserve: true})
		c.s.Account, c.s.Reservation = "a", d.Reservation
		for i, want := range []bucket.Settled{bucket.SettledNow, bucket.SettledBefore, bucket.SettledBefore} {
			if got := settle(t, l, &c.s); got != want {
				t.Errorf("%s, time %d: %v, want %v", c.name, i, got, want)
			}
			if left(t, l, 0) != c.requests || left(t, l, 1) != c.tokens {
				t.Errorf("%s, time %d: %d requests and %d tokens left, want %d and %d", c.name, i, left(t, l, 0), left(t, l, 1), c.requests, c.tokens)
			}
		}
		other := c.s
		other.Amount++
		if got := settle(t, l, &other); got != bucket.SettledOtherwise {
			t.Errorf("%s, with another amount: %v", c.name, got)
		}
	}
}

func TestReservationsAreBoundedAndExpire(t *testing.T) {
	l, now := reserving(perMinute("llm", bucket.Tokens, 1000))
	var ids []string
	for range 4 {
		ids = append(ids, take(t, l, bucket.Check{Account: "a", Tokens: 10, Reserve: true}).Reservation)
	}
	if fmt.Sprint(ids) != "[r-1 r-2 r-3 ]" {
		t.Errorf("ids %q: want three, and none above the bound", ids)
	}
	if d := take(t, l, bucket.Check{Account: "a", Tokens: 2000, Reserve: true}); d.Reservation != "" {
		t.Error("a denial has a reservation")
	}
	for _, s := range []bucket.Settlement{{Account: "b", Reservation: "r-1"}, {Account: "a", Reservation: "r-9"}} {
		if got := settle(t, l, &s); got != bucket.SettledUnknown {
			t.Errorf("%+v: %v", s, got)
		}
	}
	*now += 10*time.Minute - 1
	if got := settle(t, l, &bucket.Settlement{Account: "a", Reservation: "r-1", Tokens: 1}); got != bucket.SettledNow {
		t.Errorf("at the last instant: %v", got)
	}
	*now++
	for _, id := range []string{"r-1", "r-2"} {
		if got := settle(t, l, &bucket.Settlement{Account: "a", Reservation: id, Tokens: 1}); got != bucket.SettledUnknown {
			t.Errorf("%s when expired: %v", id, got)
		}
	}
	l.Sweep()
	if live, settled := l.Reserved(); live != 0 || settled != 1 {
		t.Errorf("%d live, %d settled", live, settled)
	}
}

// Given back is only what still counts: a bucket never owes less than nothing.
func TestReleaseAfterTheBucketIsEmpty(t *testing.T) {
	for _, algorithm := range []bucket.Algorithm{bucket.TokenBucket, bucket.SlidingWindow} {
		limit := perMinute("llm", bucket.Tokens, 1000)
		limit.Algorithm = algorithm
		l, now := reserving(limit)
		d := take(t, l, bucket.Check{Account: "a", Tokens: 600, Reserve: true})
		*now += 2 * time.Minute
		take(t, l, bucket.Check{Account: "a", Tokens: 100})
		if got := settle(t, l, &bucket.Settlement{Account: "a", Reservation: d.Reservation, Release: true}); got != bucket.SettledNow {
			t.Fatal(got)
		}
		if got := left(t, l, 0); got != 900 {
			t.Errorf("%v: %d left, want 900: what has come back is not given back again", algorithm, got)
		}
	}
}

func TestSlidingWindowTakesAllOrNone(t *testing.T) {
	requests, tokens := perMinute("llm", bucket.Requests, 3), perMinute("llm", bucket.Tokens, 1000)
	requests.Algorithm = bucket.SlidingWindow
	l, rules, now := newLocal(requests, tokens)
	for range 3 {
		take(t, l, bucket.Check{Account: "a", Requests: 1, Tokens: 10})
	}
	d := take(t, l, bucket.Check{Account: "a", Requests: 1, Tokens: 10})
	if d.Reason != bucket.RateLimited || d.Hit != 0 || left(t, l, 1) != 970 {
		t.Fatalf("%+v", d)
	}
	if d.RetryAfter != 63750*time.Millisecond {
		t.Errorf("retry after %s, want a window and a sixteenth", d.RetryAfter)
	}
	*now += d.RetryAfter - 1
	if d := take(t, l, bucket.Check{Account: "a", Requests: 1}); d.Reason != bucket.RateLimited {
		t.Error("a nanosecond early it fits")
	}
	*now++
	if d := take(t, l, bucket.Check{Account: "a", Requests: 1}); d.Reason != bucket.OK || d.Limits[0].Remaining != 2 {
		t.Errorf("%+v", d)
	}
	// A changed algorithm starts anew, and so does changing it back.
	rules.ruling.Limits[0].Algorithm = bucket.TokenBucket
	if got := left(t, l, 0); got != 3 {
		t.Errorf("as a token bucket: %d left", got)
	}
	take(t, l, bucket.Check{Account: "a", Requests: 2})
	rules.ruling.Limits[0].Algorithm = bucket.SlidingWindow
	if got := left(t, l, 0); got != 3 {
		t.Errorf("as a sliding window again: %d left", got)
	}
	*now += time.Hour
	l.Sweep()
	if l.Len() != 0 {
		t.Error("an empty window was not swept")
	}
}

// Reservations move with their partition, as many as the receiver keeps, and those
// that can still be settled; one that comes twice is one.
func TestReservationsThatMoveAreBounded(t *testing.T) {
	limit := perMinute("llm", bucket.Tokens, 1000)
	g := newTrio(limit)
	for i, most := range []int64{9, 3, 9} {
		n := 0
		g.nodes[i].cfg.Reservations = (Reservations{TTL: 10 * time.Minute, Most: most, NewID: func(string) string { n++; return fmt.Sprint(name(i), "-", n) }})
	}
	take := func() {
		t.Helper()
		g.must(t, 0, bucket.Check{Account: "a", Tokens: 10, Reserve: true})
	}
	take()
	g.now += 9 * time.Minute
	for range 4 {
		take()
	}
	g.now += time.Minute // the first can be settled no more
	p := holders("n1", "n2", "n3")
	p.Moving = true
	g.adopt(p)
	g.nodes[0].BeginExport(g.epoch, []int{0})
	if _, err := g.nodes[0].Settle(&bucket.Settlement{Account: "a", Reservation: "n1-2"}); !errors.Is(err, ErrNotOwner) {
		t.Errorf("%v, want not the owner: the taker will know", err)
	}
	m := g.nodes[0].ExportPartition(0)
	if len(m.Reservations) != 5 {
		t.Fatalf("%d reservations leave, want 5", len(m.Reservations))
	}
	for range 2 {
		if g.nodes[1].ImportPartitions(g.epoch, m) != 1 {
			t.Fatal("not taken over")
		}
		if live, _ := g.nodes[1].Reserved(); live != 3 {
			t.Errorf("%d are kept, want 3", live)
		}
	}
	if g.nodes[0].DropReservations([]int{0}); len(g.nodes[0].parts[0].reserved) != 0 {
		t.Error("the former owner still keeps them")
	}
	if live, _ := g.nodes[0].Reserved(); live != 0 {
		t.Errorf("%d are counted", live)
	}
	known := 0
	for i := range 5 {
		what, err := g.nodes[1].Settle(&bucket.Settlement{Account: "a", Reservation: fmt.Sprint("n1-", i+1), Tokens: 1})
		if err != nil {
			t.Fatal(err)
		}
		if what == bucket.SettledNow {
			known++
		}
	}
	if known != 3 {
		t.Errorf("%d are settled, want 3", known)
	}
}

// A receiver may have settled what it took over although its confirmation was lost. If the
// partition comes back to the node that handed it over, nothing is given back twice.
func TestNoReservationIsSettledAgainAfterAHandoff(t *testing.T) {
	for name, next := range map[string][]Part{
		"the receiver dies":                     {holders("n2", "n1", "n3"), holders("n1", "n3", "")},
		"it dies before the leader hears of it": {holders("n1", "n3", "")},
		"the handoff goes to another node":      {moving("n1", "n3", "")},
	} {
		g := newTrio(perMinute("llm", bucket.Tokens, 1000))
		for i := range g.nodes {
			g.nodes[i].cfg.Reservations = Reservations{TTL: 10 * time.Minute, Most: 9, NewID: func(string) string { return "r" }}
		}
		g.must(t, 0, bucket.Check{Account: "a", Tokens: 500, Reserve: true})
		g.adopt(moving("n1", "n2", "n3"))
		g.nodes[0].BeginExport(g.epoch, []int{0})
		g.nodes[1].ImportPartitions(g.epoch, g.nodes[0].ExportPartition(0))
		s := &bucket.Settlement{Account: "a", Reservation: "r", Tokens: 1}
		if got := settle(t, g.nodes[1], s); got != bucket.SettledNow {
			t.Fatalf("%s: %v at the receiver", name, got)
		}
		for _, p := range next {
			g.adopt(p)
		}
		g.nodes[0].FinishRecovery(g.epoch, []int{0})
		owner := g.nodes[0]
		if next[0].Moving {
			g.nodes[0].BeginExport(g.epoch, []int{0})
			owner = g.nodes[2]
			owner.ImportPartitions(g.epoch, g.nodes[0].ExportPartition(0))
		}
		if got := settle(t, owner, s); got != bucket.SettledUnknown {
			t.Errorf("%s: %v, want unknown", name, got)
		}
		if live, _ := owner.Reserved(); live != 0 {
			t.Errorf("%s: %d reservations", name, live)
		}
	}
}
