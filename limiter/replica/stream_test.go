package replica

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/limiter/bucket"
)

var bounded = Rule{Slack: 5}

func perMinute(n int64) bucket.Limit {
	return bucket.Limit{Limit: n, Burst: n, Window: time.Minute}
}

func owes(units int64, at time.Duration) Use {
	return Use{State: bucket.State{Units: units, Rate: 600, At: at}}
}

// counter numbers usage bounds.
func counter() func() uint64 {
	n := uint64(0)
	return func() uint64 { n++; return n }
}

func TestReplicatedUpToTheAckedBoundAndTheSlack(t *testing.T) {
	l := perMinute(600)
	both := []string{"n2", "n3"}
	// n2 has acknowledged a use of 100, n3 one of 200, at 1 min.
	told := func() *Stream {
		s := &Stream{}
		for i, node := range both {
			st, _ := s.Republish(node, &Publication{Limit: l, Use: owes(int64(i+1)*100, time.Minute), Spent: 100, Successors: both, Next: counter()})
			s.Acked(node, st.Seq)
		}
		return s
	}
	for name, c := range map[string]struct {
		rule       Rule
		stream     *Stream
		use        Use
		cost       int64
		successors []string
		want       bool
	}{
		"no successor":                  {bounded, nil, owes(599, 0), 1, nil, true},
		"within the slack":              {bounded, nil, owes(20, 0), 10, both, true},
		"beyond the slack":              {bounded, nil, owes(20, 0), 11, both, false},
		"no slack":                      {Rule{Mode: bucket.Sync, Slack: 5}, nil, owes(0, 0), 1, both, false},
		"no end of slack":               {Rule{Mode: bucket.Async}, nil, owes(599, 0), 1, both, true},
		"no copy has answered":          {bounded, &Stream{}, owes(20, 0), 11, both, false},
		"the better copy":               {bounded, told(), owes(200, time.Minute), 30, both, true},
		"more than the better copy":     {bounded, told(), owes(200, time.Minute), 31, both, false},
		"the copy that is left":         {bounded, told(), owes(100, time.Minute), 30, []string{"n2"}, true},
		"more than it":                  {bounded, told(), owes(101, time.Minute), 30, []string{"n2"}, false},
		"a copy gives back too":         {bounded, told(), owes(200, time.Minute+time.Second), 20, both, true},
		"and what it gives back counts": {bounded, told(), owes(200, time.Minute+time.Second), 21, both, false},
		"near the limit there is none":  {bounded, told(), owes(560, time.Minute), 10, both, false},
		"sync, as acknowledged":         {Rule{Mode: bucket.Sync, Slack: 5}, told(), owes(190, time.Minute), 10, both, true},
		"sync, one more":                {Rule{Mode: bucket.Sync, Slack: 5}, told(), owes(190, time.Minute), 11, both, false},
	} {
		if got := c.stream.Replicated(c.rule, l, c.use, c.cost, c.successors); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// What was sent may have replaced what was acknowledged, and an acknowledgement
// of what was sent before says nothing.
// An idle bucket of a small burst, whose slack is no more than the cost: the bound
// decays while it is under way, and must still cover the check when it is acknowledged.
func TestABoundLastsUntilItIsAcknowledged(t *testing.T) {
	for _, mode := range []bucket.Mode{bucket.Bounded, bucket.Sync} {
		for _, l := range []bucket.Limit{perMinute(10), perMinute(600), perMinute(6_000_000)} {
			for _, cost := range []int64{1, l.Burst/20 + 1, l.Burst} {
				s, r := &Stream{}, Rule{Mode: mode, Slack: 5}
				use := Use{State: bucket.State{Rate: l.Limit, At: time.Minute}}
				p := &Publication{Rule: r, Limit: l, Use: use, Cost: cost, Successors: []string{"n2"}, Next: counter()}
				for _, b := range s.Publish(p) {
					s.Acked(b.To, b.Seq)
				}
				use.At += publishAhead
				if !s.Replicated(r, l, use, cost, p.Successors) {
					t.Errorf("mode %d, burst %d, cost %d: an acknowledged bound does not cover the check that it was published for", mode, l.Burst, cost)
				}
			}
		}
	}
}

func TestTheSmallestOfAcknowledgedAndSentSinceCounts(t *testing.T) {
	l, one, next := perMinute(600), []string{"n2"}, counter()
	s := &Stream{}
	first, _ := s.Republish("n2", &Publication{Limit: l, Use: owes(400, 0), Spent: 400, Successors: one, Next: next})
	s.Acked("n2", first.Seq)
	if !s.Replicated(bounded, l, owes(400, 0), 30, one) {
		t.Fatal("400 acknowledged")
	}
	second, _ := s.Republish("n2", &Publication{Limit: l, Use: owes(100, 0), Spent: 400, Successors: one, Next: next})
	if s.Replicated(bounded, l, owes(400, 0), 1, one) {
		t.Error("a statement of 100 is under way")
	}
	s.Acked("n2", first.Seq)
	if s.Replicated(bounded, l, owes(200, 0), 1, one) {
		t.Error("the acknowledgement of an earlier one counts")
	}
	third, _ := s.Republish("n2", &Publication{Limit: l, Use: owes(300, 0), Spent: 400, Successors: one, Next: next})
	if s.Acked("n2", second.Seq); s.Replicated(bounded, l, owes(200, 0), 1, one) {
		t.Error("300 is under way, 100 acknowledged at most")
	}
	if s.Acked("n2", third.Seq); !s.Replicated(bounded, l, owes(300, 0), 30, one) {
		t.Error("300 acknowledged")
	}
	if s.Forget("n2"); s.Replicated(bounded, l, owes(300, 0), 1, one) {
		t.Error("a node that has forgotten covers nothing")
	}
}

// A usage bound by a raised limit decays faster than what was acknowledged before,
// and may have replaced it.
func TestTheFasterRateCountsUntilItIsAcknowledged(t *testing.T) {
	one, next := []string{"n2"}, counter()
	s, was, is := &Stream{}, perMinute(600), perMinute(6000)
	first, _ := s.Republish("n2", &Publication{Limit: was, Use: owes(400, 0), Spent: 400, Successors: one, Next: next})
	s.Acked("n2", first.Seq)
	second, _ := s.Republish("n2", &Publication{Limit: is, Use: owes(500, 0), Spent: 400, Successors: one, Next: next})
	var c Copy
	c.Apply(Version{1, second.Seq}, second, 0)
	const later = 5 * time.Second
	if held := decayed(c.State, time.Minute, later); held.Units != 0 {
		t.Fatalf("%+v is held", held)
	}
	if s.Replicated(bounded, is, owes(0, later), 301, one) {
		t.Error("what the copy has let go of covers")
	}
}

// A usage bound is due when use has passed half the slack, one at a time for each
// copy, and again when none answers.
func TestUsageBoundsAreDue(t *testing.T) {
	l, both, next := perMinute(600), []string{"n2", "n3"}, counter()
	s := &Stream{}
	state := func(units, spent, cost int64, at time.Duration) []UsageBound {
		return s.Publish(&Publication{Rule: bounded, Limit: l, Use: owes(units, at), Spent: spent, Cost: cost, Successors: both, Next: next})
	}
	if got := state(15, 15, 0, 0); len(got) != 0 {
		t.Errorf("half the slack: %+v", got)
	}
	got := state(16, 16, 0, 0)
	if len(got) != 2 || got[0].To != "n2" || got[1].To != "n3" || got[0].State.Units != 16+30 || got[0].Spent != 16 || got[0].Seq == got[1].Seq {
		t.Fatalf("more than half: %+v", got)
	}
	if again := state(100, 100, 0, resendAfter-1); len(again) != 0 {
		t.Errorf("one is open: %+v", again)
	}
	s.Acked("n3", got[1].Seq)
	if got := state(100, 100, 0, resendAfter-1); len(got) != 1 || got[0].To != "n3" {
		t.Errorf("one has answered: %+v", got)
	}
	if got := state(100, 100, 0, resendAfter); len(got) != 1 || got[0].To != "n2" || got[0].State.Units != 130 {
		t.Errorf("the other is late: %+v", got)
	}
	for i := range s.acks {
		s.Acked(s.acks[i].node, s.acks[i].seq)
	}
	if got := state(100, 100, 0, resendAfter); len(got) != 0 {
		t.Errorf("all is known: %+v", got)
	}
	if got := state(0, 401, 0, time.Minute); len(got) != 2 {
		t.Errorf("half a burst was spent since: %+v", got)
	}
	// What is exhausted is known to be, with what comes back until the answer.
	if got := state(598, 999, 5, time.Hour); len(got) != 2 || got[0].State.Units != 598+5+1+2 {
		t.Errorf("near the limit: %+v", got)
	}
}

// Whatever is lost, late or given back, and whatever the limit becomes: at every
// instant the better copy owes as much as the owner but for the slack.
func TestACopyIsNeverFurtherBehindThanTheSlack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := perMinute(rapid.SampledFrom([]int64{10, 100, 600, 10_000}).Draw(rt, "limit"))
		rule := Rule{Mode: rapid.SampledFrom([]bucket.Mode{bucket.Bounded, bucket.Sync}).Draw(rt, "mode"), Slack: 5}
		both, next := []string{"n2", "n3"}, counter()
		var s Stream
		copies := map[string]*Copy{"n2": {}, "n3": {}}
		var use bucket.State
		var now time.Duration
		var sent []UsageBound
		spent := int64(0)
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			now += time.Duration(rapid.SampledFrom([]int{0, 1, 35, 400, 3000}).Draw(rt, "pause")) * time.Millisecond
			use = use.Decay(l, now)
			use.At = now
			cost := rapid.Int64Range(1, max(1, l.Burst/4)).Draw(rt, "cost")
			switch step := rapid.IntRange(0, 19).Draw(rt, "step"); {
			case step < 10:
				if !use.Room(l, cost) {
					sent = append(sent, s.Publish(&Publication{Rule: rule, Limit: l, Use: Use{State: use}, Spent: spent, Cost: 0, Successors: both, Next: next})...)
					break
				}
				if !s.Replicated(rule, l, Use{State: use}, cost, both) {
					sent = append(sent, s.Publish(&Publication{Rule: rule, Limit: l, Use: Use{State: use}, Spent: spent, Cost: cost, Successors: both, Next: next})...)
					break
				}
				use, spent = use.Add(cost), spent+cost
				sent = append(sent, s.Publish(&Publication{Rule: rule, Limit: l, Use: Use{State: use}, Spent: spent, Cost: 0, Successors: both, Next: next})...)
				behind := use.Units
				for _, c := range copies {
					behind = min(behind, use.Units-decayed(c.State, l.Window, now).Units)
				}
				if most := slack(rule, l, use); behind > most {
					rt.Fatalf("the better copy is %d behind of %d, at most %d", behind, use.Units, most)
				}
			case step < 17 && len(sent) > 0: // one arrives, in any order, and is perhaps acknowledged
				i := rapid.IntRange(0, len(sent)-1).Draw(rt, "which")
				st := sent[i]
				if rapid.IntRange(0, 4).Draw(rt, "twice") > 0 {
					sent = append(sent[:i], sent[i+1:]...)
				}
				copies[st.To].Apply(Version{1, st.Seq}, st, now)
				if rapid.Bool().Draw(rt, "acked") {
					s.Acked(st.To, st.Seq)
				}
			case step == 17: // given back
				use.Units = max(0, use.Units-cost)
			case step == 18:
				l.Limit, l.Burst = l.Limit*2, l.Burst*2
			default:
				to := rapid.SampledFrom(both).Draw(rt, "anew")
				if st, ok := s.Republish(to, &Publication{Limit: l, Use: Use{State: use}, Spent: spent, Successors: both, Next: next}); ok {
					sent = append(sent, st)
				}
			}
		}
	})
}

// A copy takes only what is later than what it has, and each usage bound once: one
// that came again would decay from then.
func TestACopyTakesWhatIsLater(t *testing.T) {
	var c Copy
	at := func(o Version, units int64, now time.Duration) bool {
		return c.Apply(o, UsageBound{State: bucket.State{Units: units, Rate: 600}}, now)
	}
	for i, step := range []struct {
		Version
		want bool
	}{
		{Version{2, 5}, true}, {Version{2, 5}, false}, {Version{2, 4}, false}, {Version{1, 9}, false}, {Version{2, 6}, true}, {Version{3, 1}, true},
	} {
		was := c.State
		if got := at(step.Version, int64(i), time.Duration(i)); got != step.want || !got && c.State != was {
			t.Errorf("step %d, %+v: %v, %+v", i, step.Version, got, c)
		}
	}
}
