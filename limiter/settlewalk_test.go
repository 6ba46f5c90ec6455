package limiter

import (
	"slices"
	"testing"
	"time"
)

// The steps of a settlement's walk, made by node n1, when the holders answer as named and
// those that are not named are not the owner.
func TestASettlementGoesOnFromStepToStep(t *testing.T) {
	const wait = "await partition for 20ms"
	for name, c := range map[string]struct {
		parts    []Part // by round; the last is in force from then on
		outcomes map[string]Outcome
		takes    time.Duration // each step
		want     []string
	}{
		"the owner decides": {[]Part{holders("n2", "n3", "n4")}, map[string]Outcome{"n2": Decided}, 0, []string{
			"ask n2 as owner for 150ms", "answer"}},
		"this node decides": {[]Part{holders("n1", "n3", "n4")}, map[string]Outcome{"n1": Decided}, 0, []string{
			"settle", "answer"}},
		"a successor has it": {[]Part{holders("n2", "n1", "n4")}, map[string]Outcome{"n2": Failed, "n4": Decided}, 0, []string{
			"ask n2 as owner for 150ms", "settle", "ask n4 as owner for 150ms", "answer"}},
		"this node's map is old": {[]Part{holders("n2", "n3", ""), holders("n4", "n2", "n3")}, map[string]Outcome{"n4": Decided}, 0, []string{
			"ask n2 as owner for 150ms", "ask n3 as owner for 150ms", wait, "ask n4 as owner for 150ms", "answer"}},
		"no owner at first": {[]Part{{}, holders("n1", "", "")}, map[string]Outcome{"n1": Decided}, 0, []string{
			wait, "settle", "answer"}},
		"no owner": {[]Part{{}}, nil, 70 * time.Millisecond, []string{
			wait, wait, wait, "not owner"}},
		"the owner does not answer": {[]Part{holders("n2", "", "")}, map[string]Outcome{"n2": Failed}, 75 * time.Millisecond, []string{
			"ask n2 as owner for 150ms", wait, "ask n2 as owner for 150ms", "not owner"}},
	} {
		t.Run(name, func(t *testing.T) {
			var w SettleWalk
			var got []string
			round, now, out := 0, time.Duration(0), Pending
			for len(got) < 20 {
				s := w.Next(now, "n1", &c.parts[min(round, len(c.parts)-1)], out)
				now += c.takes
				got = append(got, s.String())
				switch s.Do {
				case AskNode, SettleHere:
					if s.Do == SettleHere {
						s.Node = "n1"
					}
					if out = c.outcomes[s.Node]; out == Pending {
						out = NotOwner
					}
				case AwaitPartition:
					round++
					out = Pending
				}
				if s.Ends() {
					break
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// Whatever happens, a settlement's walk ends after arriveFor and one more round, and asks
// each holder once a round.
func TestASettlementEnds(t *testing.T) {
	part := moving("n2", "n1", "n3")
	for _, out := range []Outcome{NotOwner, Unreplicated, Failed, Behind, WouldWait} {
		var w SettleWalk
		now, last, asked := time.Duration(0), Pending, map[string]int{}
		for steps := 0; ; steps++ {
			s := w.Next(now, "n1", &part, last)
			if s.Ends() {
				if s.Do != AnswerNotOwner || now > arriveFor+3*settleHop+settleEvery {
					t.Errorf("%v: %s after %s", out, s.String(), now)
				}
				break
			}
			if last = out; s.Do == AwaitPartition {
				last = Pending
				clear(asked)
			} else if asked[s.Node]++; asked[s.Node] > 1 {
				t.Fatalf("%v: %q asked twice in a round", out, s.Node)
			}
			if now += s.For; steps > 100 {
				t.Fatalf("%v: no end", out)
			}
		}
	}
}
