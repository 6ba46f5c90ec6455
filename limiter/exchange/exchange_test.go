package exchange

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"quorate/limiter/bucket"
)

// Usage bounds that are due together leave together, and an owner goes on as soon
// as one copy has confirmed.
func TestUsageBoundsAreBatchedAndConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, tokens(1000))
		for i := range 2000 {
			if d := n.own(t, "n1", bucket.Check{Account: fmt.Sprint("a", i), Tokens: 40}); d.Reason != bucket.OK || d.Degraded {
				t.Fatalf("%+v", d)
			}
		}
		n.pass(time.Second)
		e := n.nodes["n1"]
		for _, node := range []string{"n2", "n3"} {
			if got := n.nodes[node].Local.Stats().Copies; got != 2000 {
				t.Errorf("%s has %d copies, want 2000", node, got)
			}
		}
		if s, m := e.Bounds.Load(), e.Messages.Load(); s != 4000 || m > s/10 || e.Unconfirmed.Load() != 0 || e.Lag.Load() < int64(time.Millisecond) {
			t.Errorf("%d usage bounds in %d messages, %d unconfirmed, lag %d", s, m, e.Unconfirmed.Load(), e.Lag.Load())
		}
		if d := n.own(t, "n1", bucket.Check{Account: "a1", Tokens: 950}); d.Reason != bucket.OK || d.Degraded || d.Limits[0].Remaining != 26 { // a second has given 16 back
			t.Errorf("%+v: want it allowed by the owner once a copy has confirmed", d)
		}
	})
}

// One copy that answers is enough. Without any the owner decides as a fallback node, and
// what is lost is counted.
func TestUsageBoundsThatAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, tokens(1000))
		n.lose(func(_, to string, kind byte) bool { return kind == kindBounds && to == "n2" })
		if d := n.own(t, "n1", bucket.Check{Account: "a", Tokens: 500}); d.Reason != bucket.OK || d.Degraded {
			t.Errorf("one copy: %+v", d)
		}
		n.lose(func(_, _ string, kind byte) bool { return kind == kindBounds })
		if d := n.own(t, "n1", bucket.Check{Account: "b", Tokens: 90}); d.Reason != bucket.OK || !d.Degraded {
			t.Errorf("no copy: %+v", d)
		}
		if d := n.own(t, "n1", bucket.Check{Account: "b", Tokens: 90}); d.Reason != bucket.RateLimited || !d.Degraded {
			t.Errorf("no copy, and the fallback's part is used: %+v", d)
		}
		n.pass(2 * time.Second)
		if n.nodes["n1"].Unconfirmed.Load() == 0 {
			t.Error("none is lost")
		}
		n.lose(nil)
		if d := n.own(t, "n1", bucket.Check{Account: "b", Tokens: 300}); d.Reason != bucket.OK || d.Degraded {
			t.Errorf("all copies again: %+v", d)
		}
	})
}

// What a fallback node admits is sent until the owner has absorbed it, and then no more.
func TestFallbackUsageIsSentUntilItIsAbsorbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, tokens(1000))
		n.own(t, "n1", bucket.Check{Account: "a", Tokens: 500})
		n.lose(func(_, _ string, kind byte) bool { return kind == kindUsage })
		var d bucket.Decision
		if err := n.nodes["n2"].Local.Fallback(t.Context(), &bucket.Check{Account: "a", Tokens: 100}, &d); err != nil || d.Reason != bucket.OK {
			t.Fatal(err, d)
		}
		n.pass(time.Second)
		if got := n.left(t, "n1", "a"); got < 500 {
			t.Fatalf("%d left while fallback usage is lost", got)
		}
		n.lose(nil)
		n.pass(2 * time.Second)
		// 3 s have given 50 back.
		if got := n.left(t, "n1", "a"); got < 440 || got > 460 {
			t.Errorf("%d left, want what the fallback node admitted taken off", got)
		}
		if got := n.nodes["n2"].Local.FallbackUsages(); len(got) != 0 {
			t.Errorf("still told: %+v", got)
		}
		told := n.seen[kindUsage]
		n.pass(time.Second)
		if n.seen[kindUsage] != told {
			t.Error("told again when absorbed")
		}
	})
}

// A new owner fetches what the copies know. One that does not answer is not
// waited for long.
func TestTakeoverFetchesTheCopies(t *testing.T) {
	for name, silent := range map[string]bool{"all answer": false, "one is silent": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, tokens(1000))
				n.own(t, "n1", bucket.Check{Account: "a", Tokens: 1000})
				n.own(t, "n1", bucket.Check{Account: "b", Tokens: 600})
				n.pass(time.Millisecond * 10)
				n.lose(func(from, to string, _ byte) bool { return from == "n1" || to == "n1" || silent && to == "n3" })
				n.adopt(false, "n2", "n3")
				// A second has given 17 back; published were some more than were used.
				if got := n.left(t, "n2", "a"); got > 20 {
					t.Errorf("a has %d left, it was used up", got)
				}
				if got := n.left(t, "n2", "b"); got < 340 || got > 420 {
					t.Errorf("b has %d left", got)
				}
			})
		})
	}
}

// A partition that moves is exact, and its reservations move with it.
func TestHandoffIsExactAndKeepsReservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, tokens(6000))
		d := n.own(t, "n1", bucket.Check{Account: "a", Tokens: 3000, Reserve: true})
		done := n.own(t, "n1", bucket.Check{Account: "b", Tokens: 10, Reserve: true})
		first := bucket.Settlement{Account: "b", Reservation: done.Reservation, Tokens: 4}
		if what, err := n.nodes["n1"].Local.Settle(&first); what != bucket.SettledNow || err != nil {
			t.Fatal(what, err)
		}
		n.adopt(true, "n1", "n2", "n3")
		if live, _ := n.nodes["n1"].Local.Reserved(); live != 0 {
			t.Errorf("%d reservations are left behind", live)
		}
		n.adopt(false, "n2", "n3", "n1")
		// Two seconds and some milliseconds of messages have given 200 back.
		if got := n.left(t, "n2", "a"); got < 3190 || got > 3210 {
			t.Errorf("%d left after the move", got)
		}
		if _, err := n.nodes["n1"].Local.Settle(&first); err == nil {
			t.Error("a node that owns nothing any more has settled")
		}
		s := bucket.Settlement{Account: "a", Reservation: d.Reservation, Tokens: 1000}
		for _, want := range []bucket.Settled{bucket.SettledNow, bucket.SettledBefore} {
			if what, err := n.nodes["n2"].Local.Settle(&s); what != want || err != nil {
				t.Errorf("%v, %v, want %v", what, err, want)
			}
		}
		if got := n.left(t, "n2", "a"); got < 5190 || got > 5210 {
			t.Errorf("%d left when 1000 of 3000 were used", got)
		}
		if what, err := n.nodes["n2"].Local.Settle(&first); what != bucket.SettledBefore || err != nil {
			t.Errorf("settled before the move: %v, %v", what, err)
		}
	})
}

// While the receiver of a handoff cannot be reached the owner stays the owner.
func TestHandoffWaitsForTheReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, tokens(1000))
		n.lose(func(_, to string, _ byte) bool { return to == "n2" })
		n.adopt(true, "n1", "n2", "n3")
		if got := n.left(t, "n1", "a"); got != 1000 {
			t.Errorf("%d left", got)
		}
		n.lose(nil)
		n.pass(time.Second)
		if got := n.left(t, "n2", "a"); got != 1000 {
			t.Errorf("%d left", got)
		}
		var d bucket.Decision
		if err := n.nodes["n1"].Local.Own(t.Context(), &bucket.Check{Account: "a"}, &d, true); err == nil {
			t.Error("two owners")
		}
	})
}

// A successor that is new gets a copy of buckets that are not checked.
func TestNewSuccessorGetsAWholeCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, tokens(1000))
		n.adopt(false, "n1", "n2")
		for i := range 100 {
			n.own(t, "n1", bucket.Check{Account: fmt.Sprint("a", i), Tokens: 900})
		}
		n.lose(func(_, to string, _ byte) bool { return to == "n3" })
		n.adopt(false, "n1", "n2", "n3")
		if got := n.nodes["n1"].Local.Incomplete(); got != 2 {
			t.Errorf("%d partitions lack a copy, want 2", got)
		}
		n.lose(nil)
		n.pass(3 * time.Second)
		if got, whole := n.nodes["n3"].Local.Stats().Copies, n.nodes["n1"].Local.Incomplete(); got != 100 || whole != 0 {
			t.Errorf("n3 has %d copies; %d partitions lack one", got, whole)
		}
	})
}

// Nothing of a message that is not of ours is believed.
func TestServeRefusesWhatItDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, tokens(1000))
		for _, message := range [][]byte{nil, {99}, {kindBounds}, {kindHandoff, 1}, {kindFetch, 0x91, 9, 0, 0}, {kindUsage, 0x90, 1}} {
			if b, err := n.nodes["n1"].Serve(message); err == nil || b != nil {
				t.Errorf("%v: %v, %v", message, b, err)
			}
		}
		if _, err := n.nodes["n1"].Serve([]byte{99}); !errors.Is(err, ErrMessage) {
			t.Errorf("%v, want a bad message", err)
		}
	})
}
