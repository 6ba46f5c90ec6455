package ownership

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"quorate/fsm/ledger"
)

const beat = 100 * time.Millisecond

// node returns a of the grantors a, b and c, which knows the two others.
func node() *Node {
	n := New(ledger.Member{ID: "a", Boot: 1}, DefaultTiming())
	n.SetPeers([]string{"b", "c"})
	n.Adopt(mapOf(1, nil))
	n.Applied(n.Map(), true)
	return n
}

// to lists the nodes that are pinged.
func to(out []Message) (ids string) {
	for _, m := range out {
		ids += m.To
	}
	return ids
}

// answer has a node answer a ping that was sent at an instant.
func answer(n *Node, from string, sent time.Duration, p Pong) Outcome {
	if p.AppliedEpoch == 0 {
		p.Boot, p.Ready, p.AppliedEpoch, p.Epoch = 1, true, n.Epoch(), n.Epoch()
	}
	return n.Pong(from, Ping{From: n.self, Epoch: n.Epoch(), Sent: sent}, &p, sent+time.Millisecond)
}

func TestBeatsCountUntilAnAnswer(t *testing.T) {
	n := node()
	type step struct {
		name      string
		beats     int    // that pass first
		answers   string // nodes that answer then
		reachable string
		majority  bool
	}
	now := time.Duration(0)
	for _, s := range []step{
		{"at the start others are asked, and no majority is known", 1, "", "bc", false},
		{"one answer is a majority of three", 0, "b", "bc", true},
		{"three missed beats are no silence", 3, "", "b", true},
		{"four are", 1, "", "", true},
		{"an answer ends it", 0, "b", "b", true},
		{"the other is heard for the first time", 0, "c", "bc", true},
		{"a majority lasts for as long as a lease", 19, "", "", true},
		{"and then this node is cut off", 1, "", "", false},
		{"until the next answer", 0, "c", "c", true},
	} {
		for range s.beats {
			now += beat
			n.Tick(now)
		}
		for _, id := range s.answers {
			answer(n, string(id), now, Pong{})
		}
		r, got := n.Routes(), ""
		for _, id := range []string{"b", "c"} {
			if r.Reachable(id) {
				got += id
			}
		}
		if got != s.reachable || r.Majority() != s.majority {
			t.Errorf("%s: reachable %q, majority %v; want %q, %v", s.name, got, r.Majority(), s.reachable, s.majority)
		}
	}
}

// TestANodeThatStoodStillHasMissedNothing: time that passes without beats says
// nothing of the others.
func TestANodeThatStoodStillHasMissedNothing(t *testing.T) {
	n := node()
	n.Tick(beat)
	answer(n, "b", beat, Pong{})
	n.Tick(time.Minute)
	p, _ := n.Peer("b")
	timing := DefaultTiming()
	if !n.Routes().Reachable("b") || !n.Routes().Majority() || p.Silent(time.Minute, &timing) {
		t.Error("a node counts as silent after one beat")
	}
	for range timing.LostBeats() {
		n.Tick(time.Minute)
	}
	if p, _ := n.Peer("b"); !p.Silent(time.Minute, &timing) {
		t.Error("a node does not count as silent after a second of beats")
	}
}

// TestAQuorumTakesAnAnswer: a node that has only been told of others has not
// reached them.
func TestAQuorumTakesAnAnswer(t *testing.T) {
	n := node()
	n.Tick(beat)
	if n.Routes().EverHadQuorum() || n.MajorityBeats() != 0 {
		t.Error("a quorum without an answer")
	}
	answer(n, "c", beat, Pong{})
	if !n.Routes().EverHadQuorum() {
		t.Error("two of three are a quorum")
	}
	for i := range 10 {
		n.Tick(2 * beat)
		if n.MajorityBeats() != i+1 {
			t.Fatalf("%d beats with a majority, want %d", n.MajorityBeats(), i+1)
		}
	}
	if n.Tick(3 * beat); n.MajorityBeats() != 0 {
		t.Error("ten beats without an answer leave a majority")
	}
	if !n.Routes().EverHadQuorum() {
		t.Error("a quorum was forgotten")
	}
	alone := New(ledger.Member{ID: "a", Boot: 1}, DefaultTiming())
	if alone.Tick(0); alone.Routes().EverHadQuorum() {
		t.Error("a quorum without a map")
	}
	alone.Adopt(&ledger.Map{Epoch: 1, Grantors: []string{"a"}})
	if alone.Tick(beat); !alone.Routes().EverHadQuorum() {
		t.Error("one of one is a quorum")
	}
}

func TestPingsUnderWayAreBounded(t *testing.T) {
	n := node()
	now := time.Duration(0)
	var first Ping
	for i := range 9 {
		out := n.Tick(now)
		if want := map[bool]string{true: "bc", false: ""}[i < 8]; to(out) != want {
			t.Fatalf("ping %d goes to %q, want %q", i+1, to(out), want)
		}
		if i == 0 {
			first = out[0].Ping
		}
		now += beat
	}
	n.PingLost("b", first)
	if got := to(n.Renew(now)); got != "b" {
		t.Errorf("after one was lost %q are pinged, want b", got)
	}
	if got := to(n.Renew(now + 200*time.Millisecond)); got != "c" {
		t.Errorf("a second after the first %q are pinged, want c", got)
	}
}

func TestANodeThatIsBehindIsPingedAgain(t *testing.T) {
	n := node()
	n.Adopt(mapOf(2, nil))
	q := n.Renew(0)[0].Ping
	behind := Pong{Boot: 1, Ready: true, AppliedEpoch: 1, Epoch: 2}
	tries, now := 1, time.Duration(0)
	for {
		now += time.Millisecond
		if !n.Pong("b", q, &behind, now).Retry {
			break
		}
		now += n.timing.Retry
		var ok bool
		if q, ok = n.Retry("b", q, now); !ok || q.Epoch != 2 || q.Sent != now {
			t.Fatalf("retry %+v, %v", q, ok)
		}
		tries++
	}
	if p, _ := n.Peer("b"); tries != 10 || len(p.inFlight) != 0 {
		t.Errorf("%d pings, %d still under way; want 10 and none", tries, len(p.inFlight))
	}
	n.SetPeers([]string{"c"})
	if _, ok := n.Retry("b", q, now); ok {
		t.Error("a node that is forgotten is pinged")
	}
	if o := n.Pong("b", q, &behind, now); o != (Outcome{}) || n.Routes().Reachable("b") {
		t.Errorf("the answer of a node that is forgotten counts: %+v", o)
	}
}

func TestALateAnswerCountsAsLost(t *testing.T) {
	n := node()
	n.Tick(0)
	p := Pong{Boot: 1, AppliedEpoch: 1, Granted: true}
	if o := n.Pong("b", Ping{From: n.self, Epoch: 1}, &p, time.Second+1); o != (Outcome{}) || n.Routes().Majority() {
		t.Errorf("an answer after more than a second counts: %+v", o)
	}
}

func TestAnAnswerOlderThanTheLastChangesNothingKnown(t *testing.T) {
	n := node()
	answer(n, "b", 2*beat, Pong{Boot: 2, AppliedEpoch: 1})
	answer(n, "b", beat, Pong{Boot: 1, AppliedEpoch: 1})
	if p, _ := n.Peer("b"); p.Pong.Boot != 2 || p.Heard != 2*beat {
		t.Errorf("boot %d of %v, want the later answer's", p.Pong.Boot, p.Heard)
	}
}

func TestWhatAnAnswerChanges(t *testing.T) {
	base := Pong{Boot: 1, Ready: true, AppliedEpoch: 1, Epoch: 1, Reaches: []string{"a"}}
	for name, c := range map[string]struct {
		change func(*Pong)
		want   Outcome
	}{
		"nothing":          {func(*Pong) {}, Outcome{}},
		"how far it is":    {func(p *Pong) { p.AppliedIndex = 99 }, Outcome{}},
		"whom it reaches":  {func(p *Pong) { p.Reaches = nil }, Outcome{}},
		"its boot":         {func(p *Pong) { p.Boot = 2 }, Outcome{Changed: true}},
		"that it is ready": {func(p *Pong) { p.Ready = false }, Outcome{Changed: true}},
		"that it leaves":   {func(p *Pong) { p.Leaving = true }, Outcome{Changed: true}},
		"its map":          {func(p *Pong) { p.AppliedEpoch = 2 }, Outcome{Changed: true}},
		"what it was given": {
			func(p *Pong) { p.Imported = []byte{1} }, Outcome{Changed: true},
		},
		"a newer map": {func(p *Pong) { p.Epoch = 2 }, Outcome{Fetch: true}},
		"a removal":   {func(p *Pong) { p.Removed = true }, Outcome{Removed: true}},
		"that it is behind": {
			func(p *Pong) { p.AppliedEpoch = 0 }, Outcome{Changed: true, Retry: true},
		},
	} {
		n := node()
		q := Ping{From: n.self, Epoch: 1}
		first := base
		if o := n.Pong("b", q, &first, 0); o != (Outcome{Changed: true}) {
			t.Errorf("%s: the first answer: %+v", name, o)
		}
		p := base
		c.change(&p)
		if o := n.Pong("b", q, &p, 0); o != c.want {
			t.Errorf("%s: %+v, want %+v", name, o, c.want)
		}
	}
}

// TestTheFirstToHearOfAMapAsksForIt: one ping of each node for each epoch.
func TestTheFirstToHearOfAMapAsksForIt(t *testing.T) {
	n := node()
	got := ""
	for _, epoch := range []uint64{1, 2, 2, 1, 4, 3} {
		got += fmt.Sprintf("%d%s ", epoch, to(n.Heard(epoch, 0)))
	}
	if got != "1 2bc 2 1 4bc 3 " {
		t.Errorf("pings %q", got)
	}
}

func TestRelay(t *testing.T) {
	n := New(ledger.Member{ID: "b", Boot: 1}, DefaultTiming())
	n.SetPeers([]string{"a", "b", "c", "d", "e"})
	for _, id := range []string{"a", "c", "d"} {
		answer(n, id, 0, Pong{Reaches: []string{"a", "b", "c", "e"}})
	}
	relays := func() (s string) {
		for _, id := range []string{"a", "c", "e", "x"} {
			s += id + ":" + n.Routes().Relay(id) + " "
		}
		return s
	}
	if got := relays(); got != "a:c c:d e:c x: " {
		t.Errorf("relays %q: the first of the nodes that follow b", got)
	}
	for i := range 4 {
		n.Tick(time.Duration(i) * beat)
		answer(n, "d", time.Duration(i)*beat, Pong{Reaches: []string{"e"}})
	}
	if got := relays(); got != "a: c: e:d x: " {
		t.Errorf("relays %q: only d is reached, and reaches e", got)
	}
}

func TestReachesNamesTheLast200Milliseconds(t *testing.T) {
	n := node()
	answer(n, "b", 100*time.Millisecond, Pong{})
	answer(n, "c", 250*time.Millisecond, Pong{})
	for now, want := range map[time.Duration][]string{299: {"b", "c"}, 300: {"c"}, 450: nil} {
		var p Pong
		if n.Answer(&Ping{}, now*time.Millisecond, &p); !slices.Equal(p.Reaches, want) {
			t.Errorf("at %d ms %v, want %v", now, p.Reaches, want)
		}
	}
}

func TestAViewLeavesOutEarlierBoots(t *testing.T) {
	m := &ledger.Map{
		Epoch: 3, Members: []ledger.Member{{ID: "a", Boot: 1}, {ID: "b", Boot: 5}},
		Places: [][3]uint16{{0, 1, ledger.NoMember}, {1, 0, ledger.NoMember}, {1, 0, ledger.NoMember}, {ledger.NoMember, 1, 0}},
		Moving: []bool{false, false, true, false},
	}
	for _, c := range []struct {
		self  ledger.Member
		parts string
		owns  []bool
	}{
		{ledger.Member{ID: "a", Boot: 1}, "[{[a b ] false} {[b a ] false} {[b a ] true} {[ b a] false}]", []bool{true, false, true, false}},
		{ledger.Member{ID: "a", Boot: 2}, "[{[ b ] false} {[b  ] false} {[b  ] true} {[ b ] false}]", []bool{false, false, false, false}},
	} {
		v := NewView(m, c.self)
		if got := fmt.Sprint(v.Parts); got != c.parts || v.Epoch != 3 || v.Nodes != 2 || v.Boots["b"] != 5 {
			t.Errorf("boot %d sees %s", c.self.Boot, got)
		}
		for p, want := range c.owns {
			if got := v.owns(p, c.self.ID); got != want {
				t.Errorf("boot %d owns %d: %v", c.self.Boot, p, got)
			}
		}
		if Owns(m, c.self) != slices.Contains(c.owns, true) {
			t.Errorf("boot %d owns any: %v", c.self.Boot, Owns(m, c.self))
		}
	}
}

// TestChecksReadWithoutAllocation: the snapshots are read at every check.
func TestChecksReadWithoutAllocation(t *testing.T) {
	n := node()
	n.Adopt(mapOf(2, []bool{true}))
	answer(n, "b", 0, Pong{Reaches: []string{"c"}, AppliedEpoch: 2})
	held, routes := n.Held(), n.Routes()
	if got := testing.AllocsPerRun(100, func() {
		_ = held.Valid(0, 1)
		_ = routes.Reachable("b") && routes.Majority() && routes.EverHadQuorum()
		_ = routes.Relay("c")
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
