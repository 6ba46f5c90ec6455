package limiter

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

func sliding(n int64) bucket.Scoped {
	l := perMinute("llm", bucket.Requests, n)
	l.Algorithm = bucket.SlidingWindow
	return l
}

// admission is one of the model: a list of what was admitted when.
type admission struct {
	at    time.Duration
	units int64
}

type admissions []admission

// largest returns the most that was admitted in any window.
func (a admissions) largest(window time.Duration) (most int64) {
	for i := range a {
		var sum int64
		for j := i; j >= 0 && a[i].at-a[j].at < window; j-- {
			sum += a[j].units
		}
		most = max(most, sum)
	}
	return most
}

// Whatever is asked whenever, whatever is lost or late: when the owner dies, no
// window of the time before and after holds more than the limit and the slack.
func TestKilledOwnerOfSlidingWindowsCostsTheSlack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.SampledFrom([]int64{5, 30, 100, 1000}).Draw(rt, "limit")
		g := newTrio(sliding(limit))
		slack := max(1, limit*5/100)
		if rapid.Bool().Draw(rt, "sync") {
			g.rule.Mode, slack = bucket.Sync, 0
		}
		var list admissions
		check := func(node int, cost int64) {
			if ok, _ := g.try(t, node, bucket.Check{Account: "a", Requests: cost}); ok && cost > 0 {
				list = append(list, admission{g.now, cost})
			}
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			g.now += time.Duration(rapid.SampledFrom([]int{0, 40, 900, 4000, 20000}).Draw(rt, "pause")) * time.Millisecond
			check(0, rapid.Int64Range(1, max(1, limit/3)).Draw(rt, "cost"))
			if rapid.IntRange(0, 9).Draw(rt, "restates") == 0 { // as to a successor that has begun anew
				g.sent = append(g.sent, g.nodes[0].Republish(0, "n2")...)
				g.sent = append(g.sent, g.nodes[0].Republish(0, "n3")...)
			}
			for len(g.sent) > 0 && rapid.IntRange(0, 3).Draw(rt, "arrives") > 0 {
				s := g.sent[0]
				g.sent = g.sent[1:]
				if lost := rapid.IntRange(0, 5).Draw(rt, "lost"); lost > 0 {
					g.deliver(s, lost > 1)
				}
			}
		}
		g.takeOver()
		g.rule.Mode = bucket.Async // whether others know is not asked any more
		for range 40 {             // as soon as there is room, it is taken
			check(1, g.left(t, 1))
			g.now += time.Minute / 16 / 2
		}
		if most := list.largest(time.Minute); most > limit+slack {
			rt.Fatalf("%d in one window, limit %d and slack %d", most, limit, slack)
		}
		// What is not used is not withheld for longer than two sixteenths more.
		g.now += time.Minute + 2*time.Minute/16
		if got := g.left(t, 1); got != limit {
			rt.Fatalf("%d left of an old window of %d", got, limit)
		}
	})
}

// A planned move of a sliding window is exact: no unit leaves earlier, and none
// later than it would have.
func TestPlannedMoveOfSlidingWindowsIsExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const limit = 100
		g := newTrio(sliding(limit))
		stays := newTrio(sliding(limit))
		stays.now = g.now
		ask := func(g *trio, node int, c bucket.Check) {
			if _, v := g.try(t, node, c); v == Unreplicated {
				g.settled()
				g.try(t, node, c)
			}
			g.settled()
		}
		step := func(owner int) {
			pause := time.Duration(rapid.IntRange(0, 9000).Draw(rt, "pause")) * time.Millisecond
			g.now, stays.now = g.now+pause, stays.now+pause
			c := bucket.Check{Account: "a", Requests: rapid.Int64Range(1, 20).Draw(rt, "cost")}
			ask(g, owner, c)
			ask(stays, 0, c)
		}
		for range rapid.IntRange(1, 30).Draw(rt, "before") {
			step(0)
		}
		if !g.move() {
			rt.Fatal("not handed over")
		}
		g.rule.Mode, stays.rule.Mode = bucket.Async, bucket.Async // whom n2 tells is not asked here
		for range 30 {
			if a, b := g.left(t, 1), stays.left(t, 0); a != b {
				rt.Fatalf("%d left after a move, %d without", a, b)
			}
			step(1)
		}
	})
}

// What a fallback node admits of a sliding window is added where it belongs, and
// nothing that was there is lost; what has left the window is not owed.
func TestFallbackUsageOfSlidingWindowsIsAdded(t *testing.T) {
	g := newTrio(sliding(100))
	owner, fallback := g.nodes[0], g.nodes[1]
	g.must(t, 0, bucket.Check{Account: "a", Requests: 50})
	var d bucket.Decision
	receive := func() {
		for _, usage := range fallback.FallbackUsages() {
			owner.ReceiveUsage(usage)
			fallback.MarkAbsorbed(usage, owner.ReceiveUsage(usage)) // the second time it changes nothing
		}
	}
	for i := range 8 {
		g.now += 10 * time.Second // a fallback has 10 and then 100/3 a minute
		if err := fallback.Fallback(t.Context(), &bucket.Check{Account: "a", Requests: 5}, &d); err != nil || d.Reason != bucket.OK {
			t.Fatalf("%v %+v", err, d)
		}
		if i%3 == 0 {
			receive()
		}
	}
	// The owner's 50 have left by now, and the first of the fallback node's 8 fives.
	for range 2 {
		receive()
		if got := g.left(t, 0); got != 65 {
			t.Fatalf("%d left, want 65", got)
		}
	}
	if len(fallback.FallbackUsages()) != 0 {
		t.Errorf("absorbed, and told again: %+v", fallback.FallbackUsages())
	}
	g.now += time.Minute + time.Minute/16 - 20*time.Second
	if got := g.left(t, 0); got != 90 {
		t.Errorf("%d left, want 90: only what was admitted in the last 20 s still counts", got)
	}
}

// A fallback node sees what the owner has used, what other fallback nodes have admitted, and
// what it has itself, and says when there will be room.
func TestFallbackSeesTheSlidingWindow(t *testing.T) {
	g := newTrio(sliding(100))
	g.must(t, 0, bucket.Check{Account: "a", Requests: 95})
	fallback := g.nodes[1]
	var d bucket.Decision
	ask := func(n int64) bucket.Decision {
		t.Helper()
		if err := fallback.Fallback(t.Context(), &bucket.Check{Account: "a", Requests: n}, &d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := ask(6); d.Reason != bucket.RateLimited || d.RetryAfter < 59*time.Second || d.RetryAfter > 64*time.Second {
		t.Fatalf("%+v: want a window's wait, the owner has used 95", d)
	}
	fallback.ReceiveUsage(FallbackUsage{ID: idOf("a", &g.nodes[1].rules.(*fixed).ruling.Limits[0]), Limit: sliding(100).Limit, FallbackUsage: replica.FallbackUsage{
		SourceTotal: replica.SourceTotal{Source: 77, Units: 200}, Sliding: &bucket.Window{Units: [17]int64{0, 2}},
	}})
	if d := ask(4); d.Reason != bucket.RateLimited || d.Limits[0].Remaining > 3 {
		t.Fatalf("%+v: want no room, another fallback has admitted 2", d)
	}
	g.now += 2 * time.Minute
	if d := ask(10); d.Reason != bucket.OK || d.Limits[0].Remaining != 90 {
		t.Fatalf("%+v: the window has passed", d)
	}
}

// A node that is cut off admits its share of a sliding window, in any window.
func TestShareOfASlidingWindow(t *testing.T) {
	g := newTrio(sliding(90))
	g.must(t, 0, bucket.Check{Account: "a", Requests: 30})
	g.cut = true
	var list admissions
	var d bucket.Decision
	first := int64(0)
	for i := range 3000 {
		g.now += 100 * time.Millisecond
		if err := g.nodes[2].Fallback(t.Context(), &bucket.Check{Account: "a", Requests: 1}, &d); err != nil {
			t.Fatal(err)
		}
		switch {
		case d.Reason == bucket.OK:
			list = append(list, admission{g.now, 1})
			if i < 300 {
				first++
			}
		case d.RetryAfter <= 0:
			t.Fatalf("%+v: refused without a wait", d)
		}
	}
	if most := list.largest(time.Minute); most != 30 {
		t.Errorf("%d in one window, want a share of 30", most)
	}
	if first < 17 || first > 20 {
		t.Errorf("%d at first, want a share less a third of what was used, and of the slack", first)
	}
}

// A changed algorithm starts anew at the owner, and what is published of the one does
// not touch the other.
func TestFallbackUsageOfAnotherAlgorithmDoesNotWipeAWindow(t *testing.T) {
	g := newTrio(sliding(100))
	g.must(t, 0, bucket.Check{Account: "a", Requests: 60})
	token := perMinute("llm", bucket.Requests, 100)
	g.nodes[0].ReceiveUsage(FallbackUsage{ID: idOf("a", &token), Limit: token.Limit, FallbackUsage: replica.FallbackUsage{
		SourceTotal: replica.SourceTotal{Source: 77, Units: 10}, Fork: replica.Fork{Spent: -1},
	}})
	if got := g.left(t, 0); got != 40 {
		t.Errorf("%d left, want 40", got)
	}
	if !g.move() {
		t.Fatal("not handed over")
	}
	if got := g.left(t, 1); got != 40 {
		t.Errorf("%d left after a move, want 40", got)
	}
}
