package limiter

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"quorate/limiter/bucket"
)

// neighbours is what node n1 knows of the others.
type neighbours struct {
	unready bool
	down    []string
	relays  map[string]string // target -> relay
}

func (a *neighbours) Ready() bool              { return !a.unready }
func (a *neighbours) Reachable(id string) bool { return !slices.Contains(a.down, id) }
func (a *neighbours) Relay(to string) string   { return a.relays[to] }

func moving(ids ...string) Part {
	p := holders(ids...)
	p.Moving = true
	return p
}

// String is a step as the tables below write it.
func (s Step) String() string {
	switch s.Do {
	case AskNode:
		return fmt.Sprintf("ask %s as %s for %s", s.Node, [...]string{"owner", "fallback", "relay"}[s.Role], s.For)
	case AwaitMap:
		return fmt.Sprintf("await map %d for %s", s.Epoch, s.For)
	case AwaitCopy, AwaitPartition:
		return fmt.Sprintf("await %s for %s", [...]string{"copy", "partition"}[s.Do-AwaitCopy], s.For)
	}
	return map[Action]string{
		DecideAsOwner: "own", SettleHere: "settle", DecideAsFallback: "fall back", Answer: "answer", AnswerNotOwner: "not owner", AnswerUnavailable: "unavailable",
		AnswerNotReady: "not ready", AnswerBehind: "behind", AnswerWouldWait: "would wait",
	}[s.Do]
}

func enterWalk(m Membership, c *bucket.Check) (w Walk) {
	w.Enter("n1", m, c)
	return w
}

func serveWalk(m Membership, r bucket.Route, c *bucket.Check, noWait bool) (w Walk) {
	w.Serve("n1", m, r, c, noWait)
	return w
}

// walks returns a walk of each kind of node n1.
func walks(a *neighbours, c *bucket.Check) map[string]func() Walk {
	served := func(role AskRole) func() Walk {
		return func() Walk { return serveWalk(a, bucket.Route{Role: role, Epoch: 1}, c, false) }
	}
	return map[string]func() Walk{
		"entry": func() Walk { return enterWalk(a, c) }, "owner": served(AsOwner), "fallback": served(AsFallback), "relay": served(AsRelay),
	}
}

// The steps of each kind of walk when each fails at once.
func TestAWalkGoesOnFromStepToStep(t *testing.T) {
	for name, c := range map[string]struct {
		kind string
		part Part
		neighbours
		want []string
	}{
		"the owner, then its successors": {"entry", holders("n2", "n3", "n4"), neighbours{}, []string{
			"ask n2 as owner for 80ms", "ask n3 as fallback for 150ms", "ask n4 as fallback for 100ms", "fall back", "unavailable"}},
		"only nodes that are reachable": {"entry", holders("n2", "n3", "n4"), neighbours{down: []string{"n2", "n3"}}, []string{
			"ask n4 as fallback for 100ms", "fall back", "unavailable"}},
		"no map yet": {"entry", Part{}, neighbours{}, []string{"fall back", "unavailable"}},
		"this node owns it": {"entry", holders("n1", "n2", "n3"), neighbours{}, []string{
			"own", "ask n2 as fallback for 150ms", "ask n3 as fallback for 100ms", "fall back", "unavailable"}},
		"this node is the first successor": {"entry", holders("n2", "n1", "n3"), neighbours{}, []string{
			"ask n2 as owner for 80ms", "fall back", "unavailable"}},
		"first successor, relay known": {"entry", holders("n2", "n1", "n3"), neighbours{down: []string{"n2"}, relays: map[string]string{"n2": "n3"}}, []string{
			"ask n3 as relay for 60ms", "fall back", "unavailable"}},
		"this node is the second": {"entry", holders("n2", "n3", "n1"), neighbours{relays: map[string]string{"n2": "n4"}}, []string{
			"ask n2 as owner for 80ms", "ask n3 as fallback for 150ms", "ask n4 as relay for 60ms", "fall back", "unavailable"}},
		"it moves": {"entry", moving("n2", "n3", "n4"), neighbours{}, []string{
			"ask n2 as owner for 80ms", "ask n3 as owner for 200ms", "ask n3 as fallback for 150ms", "ask n4 as fallback for 100ms", "fall back", "unavailable"}},
		"it moves here": {"entry", moving("n2", "n1", "n3"), neighbours{}, []string{
			"ask n2 as owner for 80ms", "own", "fall back", "unavailable"}},
		"it moves, and this node has a copy": {"entry", moving("n2", "n3", "n1"), neighbours{relays: map[string]string{"n2": "n4", "n3": "n5"}}, []string{
			"ask n2 as owner for 80ms", "ask n3 as owner for 200ms", "ask n3 as fallback for 150ms", "ask n4 as relay for 60ms", "ask n5 as relay for 60ms", "fall back", "unavailable"}},
		"it moves, and both have the same relay": {"entry", moving("n2", "n3", "n1"), neighbours{down: []string{"n2", "n3"}, relays: map[string]string{"n2": "n4", "n3": "n4"}}, []string{
			"ask n4 as relay for 60ms", "fall back", "unavailable"}},
		"this node is not ready": {"entry", holders("n1", "n2", ""), neighbours{unready: true}, []string{
			"ask n2 as fallback for 150ms", "not ready"}},

		"asked as owner":               {"owner", holders("n2", "n3", "n4"), neighbours{}, []string{"own", "not owner"}},
		"asked as owner and not ready": {"owner", holders("n1", "n3", "n4"), neighbours{unready: true}, []string{"not ready"}},

		"asked as fallback": {"fallback", holders("n2", "n1", "n3"), neighbours{relays: map[string]string{"n2": "n4"}}, []string{
			"ask n2 as owner for 60ms", "fall back", "unavailable"}},
		"by a relay": {"fallback", holders("n2", "n1", "n3"), neighbours{down: []string{"n2"}, relays: map[string]string{"n2": "n4"}}, []string{
			"ask n4 as relay for 60ms", "fall back", "unavailable"}},
		"asked as fallback while it owns it": {"fallback", holders("n1", "n2", "n3"), neighbours{}, []string{"own", "fall back", "unavailable"}},
		"asked as fallback, and it moves": {"fallback", moving("n2", "n3", "n1"), neighbours{relays: map[string]string{"n3": "n4"}}, []string{
			"ask n2 as owner for 60ms", "ask n3 as owner for 90ms", "ask n4 as relay for 60ms", "fall back", "unavailable"}},
		"asked as fallback, and it moves here": {"fallback", moving("n2", "n1", "n3"), neighbours{}, []string{
			"ask n2 as owner for 60ms", "fall back", "unavailable"}},
		"asked as fallback and not ready": {"fallback", holders("n2", "n1", "n3"), neighbours{unready: true}, []string{
			"ask n2 as owner for 60ms", "not ready"}},

		"asked as relay":                       {"relay", holders("n2", "n1", "n3"), neighbours{down: []string{"n2"}}, []string{"ask n2 as owner for 50ms", "not owner"}},
		"asked as relay, and it moves":         {"relay", moving("n2", "n3", "n1"), neighbours{}, []string{"ask n2 as owner for 50ms", "ask n3 as owner for 50ms", "not owner"}},
		"asked as relay, and the owner by now": {"relay", holders("n1", "n3", "n2"), neighbours{}, []string{"own", "not owner"}},
		"asked as relay, and it moves here":    {"relay", moving("n2", "n1", "n3"), neighbours{}, []string{"ask n2 as owner for 50ms", "own", "not owner"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := walks(&c.neighbours, &bucket.Check{})[c.kind]()
			s := w.Next(0, 1, &c.part, Pending)
			got := []string{s.String()}
			for !s.Ends() && len(got) < 20 {
				s = w.Next(0, 1, &c.part, Failed)
				got = append(got, s.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// From every step of every walk each outcome leads to an end or to a later step, and a
// walk ends within a bounded number of steps and of time, whatever happens on it.
func TestEveryOutcomeOfEveryStep(t *testing.T) {
	parts := []Part{
		{}, holders("n2", "n3", "n4"), holders("n1", "n2", "n3"), holders("n2", "n1", "n3"), holders("n2", "n3", "n1"),
		moving("n2", "n3", "n4"), moving("n1", "n2", "n3"), moving("n2", "n1", "n3"), moving("n2", "n3", "n1"),
	}
	a := &neighbours{relays: map[string]string{"n1": "n5", "n2": "n5", "n3": "n5", "n4": "n5"}}
	ends := map[Outcome]Action{Decided: Answer, Behind: AnswerBehind, WouldWait: AnswerWouldWait}
	for kind, begin := range walks(a, &bucket.Check{}) {
		for _, part := range parts {
			for at := 0; ; at++ {
				w := begin()
				s := w.Next(0, 1, &part, Pending)
				for range at {
					s = w.Next(0, 1, &part, Failed)
				}
				if s.Ends() {
					break
				}
				for out, want := range ends {
					again := w
					if got := again.Next(0, 1, &part, out); got.Do != want {
						t.Errorf("%s, %v: outcome %d of step %d, %q: %q", kind, part, out, at, s, got)
					}
				}
				for _, out := range []Outcome{NotOwner, Unreplicated, Failed} {
					again := w
					if got := again.Next(0, 1, &part, out); got.Do == s.Do && got.Node == s.Node && got.Role == s.Role {
						t.Errorf("%s, %v: outcome %d of step %d, %q: %q", kind, part, out, at, s, got)
					}
				}
			}
			longest(t, kind, begin, part)
		}
	}
}

// All hops of a walk take no longer than the client, or the asking node, waits: each fails
// at its deadline, and at any of them there may be a newer map.
func TestAllHopsOfAWalkTakeNoLongerThanTheClientWaits(t *testing.T) {
	moved := moving("n2", "n3", "n4")
	parts := []Part{
		{}, holders("n2", "n3", "n4"), holders("n1", "n2", "n3"), holders("n2", "n1", "n3"), holders("n2", "n3", "n1"),
		moved, moving("n1", "n2", "n3"), moving("n2", "n1", "n3"), moving("n2", "n3", "n1"),
	}
	if firstHop < fallbackFor || secondHop < fallbackFor || relayHop < relayFor || arriveFor > moveHop {
		t.Error("an answer comes after the asking node has given up")
	}
	for _, index := range []uint64{0, 7} {
		for kind, begin := range walks(&neighbours{relays: map[string]string{"n2": "n5", "n3": "n6"}}, &bucket.Check{MinIndex: index}) {
			most := map[string]time.Duration{"entry": 400 * time.Millisecond, "owner": 350 * time.Millisecond, "fallback": 90 * time.Millisecond, "relay": 55 * time.Millisecond}[kind]
			for _, part := range parts {
				for newerAt := range maxHops {
					w, now, epoch, took := begin(), time.Duration(0), uint64(0), time.Duration(0)
					for s, hop := w.Next(now, epoch, &part, Pending), 0; !s.Ends(); hop++ {
						now += s.For
						out := Failed
						switch {
						case s.Do == AwaitMap:
							out = Pending
							took += s.For
						case s.Do != DecideAsOwner || kind == "owner" || kind == "entry": // deciding as owner in a fallback's or relay's walk has no deadline
							took += s.For - w.index
						}
						next := part
						if hop == newerAt {
							epoch, next = 2, moved
						}
						s = w.Next(now, epoch, &next, out)
					}
					if took > most {
						t.Errorf("%s, %v, index %d: %s", kind, part, index, took)
					}
				}
			}
		}
	}
}

// longest makes the longest walk: each step fails as late as it can, and each time there
// is a newer map.
func longest(t *testing.T, kind string, begin func() Walk, part Part) {
	t.Helper()
	const maxSteps = maxPlans*maxHops + 1
	w, now, epoch := begin(), time.Duration(0), uint64(1)
	s := w.Next(now, epoch, &part, Pending)
	steps := 0
	for ; !s.Ends() && steps <= maxSteps; steps++ {
		now += s.For + 2*late
		epoch++
		s = w.Next(now, epoch, &part, Failed)
	}
	if !s.Ends() || steps > maxSteps {
		t.Errorf("%s, %v: %d steps", kind, part, steps)
	}
}

// A newer map begins a client's walk anew, and not for ever. A fallback's walk keeps to
// the map that it began by.
func TestAWalkIsPlannedAnewByANewerMap(t *testing.T) {
	c := &bucket.Check{}
	first, second := holders("n2", "n3", "n4"), holders("n3", "n4", "n2")
	w := enterWalk(&neighbours{}, c)
	s := w.Next(0, 1, &first, Pending)
	for epoch, want := range []string{"ask n2 as owner for 80ms", "ask n3 as owner for 80ms", "ask n3 as owner for 80ms", "ask n3 as owner for 80ms", "ask n4 as fallback for 150ms"} {
		if s.String() != want || s.Epoch != uint64(epoch+1) {
			t.Errorf("map %d: %q by map %d, want %q", epoch+1, s, s.Epoch, want)
		}
		s = w.Next(0, uint64(epoch+2), &second, NotOwner)
	}
	w = serveWalk(&neighbours{}, bucket.Route{Role: AsFallback}, c, false)
	w.Next(0, 1, &first, Pending)
	if s := w.Next(0, 2, &second, Failed); s.Do != DecideAsFallback {
		t.Errorf("a fallback's second step by a newer map: %q", s)
	}
}

// A hop that took far longer than it may means that this node was suspended; the hop is
// repeated once. The time that a hop has for an index is part of what it may take.
func TestAHopThatThisNodeSleptThroughIsRepeated(t *testing.T) {
	part := holders("n2", "n3", "n4")
	for name, c := range map[string]struct {
		index uint64
		took  time.Duration
		again bool
	}{
		"in time":                     {0, ownerHop, false},
		"a little late":               {0, ownerHop + late, false},
		"late":                        {0, ownerHop + late + 1, true},
		"in time for an index":        {5, ownerHop + late + 1, false},
		"in time, with all its time":  {5, ownerHop + indexWait + late, false},
		"late, with an index as well": {5, ownerHop + indexWait + late + 1, true},
	} {
		w := enterWalk(&neighbours{}, &bucket.Check{MinIndex: c.index})
		first := w.Next(0, 1, &part, Pending)
		s := w.Next(c.took, 1, &part, Failed)
		if again := s == first; again != c.again {
			t.Errorf("%s: %q after %q", name, s, first)
		}
		if s = w.Next(10*c.took, 1, &part, Failed); s == first {
			t.Errorf("%s: it is made a third time", name)
		}
	}
}

// A node that is asked by a map that it has not adopted waits for that map, unless it
// may not wait.
func TestAServedWalkWaitsForTheMap(t *testing.T) {
	part := holders("n2", "n3", "n1")
	for name, c := range map[string]struct {
		role   AskRole
		noWait bool
		epochs []uint64 // of this node, every 30 ms
		want   []string
	}{
		"the map is known":                      {AsOwner, false, []uint64{5}, []string{"own"}},
		"it comes":                              {AsOwner, false, []uint64{4, 5}, []string{"await map 5 for 50ms", "own"}},
		"a later one comes":                     {AsRelay, false, []uint64{4, 6}, []string{"await map 5 for 50ms", "ask n2 as owner for 25ms"}},
		"it does not come":                      {AsFallback, false, []uint64{3, 4, 4}, []string{"await map 5 for 50ms", "await map 5 for 20ms", "ask n2 as owner for 40ms"}},
		"it may not wait, and need not":         {AsOwner, true, []uint64{5}, []string{"own"}},
		"it may not wait for the map":           {AsOwner, true, []uint64{4}, []string{"would wait"}},
		"it may not ask as a fallback":          {AsFallback, true, []uint64{5}, []string{"would wait"}},
		"it may not ask as a relay":             {AsRelay, true, []uint64{5}, []string{"would wait"}},
		"it may not do either of the two":       {AsRelay, true, []uint64{4}, []string{"would wait"}},
		"a node that knows a later map already": {AsOwner, false, []uint64{6}, []string{"own"}},
	} {
		w := serveWalk(&neighbours{}, bucket.Route{Role: c.role, Epoch: 5}, &bucket.Check{}, c.noWait)
		for i, want := range c.want {
			if s := w.Next(time.Hour+time.Duration(i)*30*time.Millisecond, c.epochs[i], &part, Pending); s.String() != want {
				t.Errorf("%s: %q, want %q", name, s, want)
			}
		}
	}
}

// The waits of an owner, with the time at each try.
func TestAnAttemptWaitsForWhatMayCome(t *testing.T) {
	type try struct {
		at       time.Duration
		out      Outcome
		standing Standing
		want     string
	}
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		noWait bool
		tries  []try
	}{
		"decided":                 {false, []try{{0, Decided, Elsewhere, "answer"}}},
		"another node owns it":    {false, []try{{0, NotOwner, Elsewhere, "not owner"}}},
		"not all is known yet":    {false, []try{{0, NotOwner, Recovering, "fall back"}}},
		"a copy answers":          {false, []try{{0, Unreplicated, Elsewhere, "await copy for 35ms"}, {35 * ms, Unreplicated, Elsewhere, "await copy for 35ms"}, {40 * ms, Decided, Elsewhere, "answer"}}},
		"no copy answers":         {false, []try{{0, Unreplicated, Elsewhere, "await copy for 35ms"}, {replicateFor - 1, Unreplicated, Elsewhere, "await copy for 35ms"}, {replicateFor, Unreplicated, Elsewhere, "fall back"}}},
		"the partition arrives":   {false, []try{{0, NotOwner, Arriving, "await partition for 5ms"}, {5 * ms, Decided, Elsewhere, "answer"}}},
		"it does not":             {false, []try{{0, NotOwner, Arriving, "await partition for 5ms"}, {arriveFor - 1, NotOwner, Arriving, "await partition for 5ms"}, {arriveFor, NotOwner, Arriving, "not owner"}}},
		"it goes elsewhere":       {false, []try{{0, NotOwner, Arriving, "await partition for 5ms"}, {5 * ms, NotOwner, Elsewhere, "not owner"}}},
		"it is to be recovered":   {false, []try{{0, NotOwner, Arriving, "await partition for 5ms"}, {5 * ms, NotOwner, Recovering, "fall back"}}},
		"it arrives, then a copy": {false, []try{{0, NotOwner, Arriving, "await partition for 5ms"}, {150 * ms, Unreplicated, Elsewhere, "await copy for 35ms"}, {249 * ms, Unreplicated, Elsewhere, "await copy for 35ms"}, {250 * ms, Unreplicated, Elsewhere, "fall back"}}},
		"unreplicated, then lost": {false, []try{{0, Unreplicated, Elsewhere, "await copy for 35ms"}, {35 * ms, NotOwner, Elsewhere, "not owner"}}},
		"at once, decided":        {true, []try{{0, Decided, Elsewhere, "answer"}}},
		"at once, elsewhere":      {true, []try{{0, NotOwner, Elsewhere, "not owner"}}},
		"at once, recovering":     {true, []try{{0, NotOwner, Recovering, "fall back"}}},
		"at once, arriving":       {true, []try{{0, NotOwner, Arriving, "would wait"}}},
		"at once, unreplicated":   {true, []try{{0, Unreplicated, Elsewhere, "would wait"}}},
	} {
		const began = time.Hour
		a := NewAttempt(c.noWait)
		for i, try := range c.tries {
			if s := a.Next(began+try.at, try.out, try.standing); s.String() != try.want {
				t.Errorf("%s: try %d: %q, want %q", name, i, s, try.want)
			}
		}
	}
}

func TestAWalkAllocatesNothing(t *testing.T) {
	part, members, c := moving("n2", "n3", "n4"), &neighbours{}, &bucket.Check{}
	if n := testing.AllocsPerRun(100, func() {
		var w Walk
		w.Enter("n1", members, c)
		for s := w.Next(0, 1, &part, Pending); !s.Ends(); {
			s = w.Next(0, 1, &part, Failed)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
