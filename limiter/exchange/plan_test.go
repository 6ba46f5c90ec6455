package exchange

import (
	"reflect"
	"testing"
	"time"

	"quorate/limiter"
	"quorate/limiter/bucket"
)

// wantSteps checks the actions, receivers and partitions of steps.
func wantSteps(t *testing.T, what string, got []Step, want ...Step) {
	t.Helper()
	short := make([]Step, len(got))
	for i, s := range got {
		short[i] = Step{Action: s.Action, To: s.To, Parts: s.Parts, After: s.After}
	}
	if len(got)+len(want) > 0 && !reflect.DeepEqual(short, want) {
		t.Fatalf("%s: %+v, want %+v", what, short, want)
	}
}

// A new owner decides when all that may know something have answered, or have not in
// time; and one recovery is under way at a time.
func TestPlanOfARecovery(t *testing.T) {
	p := NewPlan("n1")
	asked := p.Begin(limiter.Tasks{Epoch: 3, Fetch: map[string][]int{"n2": {0, 1}, "n3": {1}, "": {2}}})
	wantSteps(t, "begins", asked, Step{Action: Fetch, To: "n2", Parts: []int{0, 1}}, Step{Action: Fetch, To: "n3", Parts: []int{1}})
	wantSteps(t, "one at a time", p.Begin(limiter.Tasks{Epoch: 4, Fetch: map[string][]int{"n2": {0}}}))
	wantSteps(t, "one has answered", p.Done(asked[1], Outcome{Epoch: 4}))
	last := p.Done(asked[0], Outcome{Epoch: 4})
	wantSteps(t, "all have", last, Step{Action: FinishRecovery, Parts: []int{0, 1, 2}})
	if last[0].Epoch != 3 {
		t.Errorf("it ends in epoch %d, want that in which it began", last[0].Epoch)
	}
	wantSteps(t, "it is over", p.Done(last[0], Outcome{Epoch: 4}))
	wantSteps(t, "no node to ask", p.Begin(limiter.Tasks{Epoch: 4, Fetch: map[string][]int{"": {0}}}), Step{Action: FinishRecovery, Parts: []int{0}})
}

// An owner decides until the receiver can, sends nothing before it has stopped, and goes
// on with the partitions that the receiver lacks.
func TestPlanOfAHandoff(t *testing.T) {
	p := NewPlan("n1")
	tasks := limiter.Tasks{Epoch: 3, Handoff: map[string][]int{"n2": {0, 1}}}
	begin := func() Step {
		t.Helper()
		s := p.Begin(tasks)
		wantSteps(t, "begins", s, Step{Action: AskImport, To: "n2", Parts: []int{0, 1}})
		wantSteps(t, "one at a time", p.Begin(tasks))
		return s[0]
	}
	same := Outcome{OK: true, Epoch: 3}
	ask := begin()
	again := p.Done(ask, Outcome{Epoch: 3})
	wantSteps(t, "the receiver cannot yet", again, Step{Action: AskImport, To: "n2", Parts: []int{0, 1}, After: handoffRetry})
	stop := p.Done(again[0], same)
	wantSteps(t, "it can", stop, Step{Action: BeginExport, To: "n2", Parts: []int{0, 1}})
	wantSteps(t, "the map is another", p.Done(stop[0], Outcome{Epoch: 4}))

	export := p.Done(p.Done(begin(), same)[0], same)
	wantSteps(t, "it has stopped", export, Step{Action: Export, To: "n2", Parts: []int{0, 1}})
	rest := p.Done(export[0], Outcome{Count: 1, Epoch: 3})
	wantSteps(t, "one has come", rest, Step{Action: DropReservations, Parts: []int{0}}, Step{Action: AskImport, To: "n2", Parts: []int{1}})
	export = p.Done(p.Done(rest[1], same)[0], same)
	again = p.Done(export[0], Outcome{Epoch: 3})
	wantSteps(t, "the other has not", again, Step{Action: AskImport, To: "n2", Parts: []int{1}, After: handoffRetry})
	export = p.Done(p.Done(again[0], same)[0], same)
	wantSteps(t, "it has now", p.Done(export[0], Outcome{Count: 1, Epoch: 3}), Step{Action: DropReservations, Parts: []int{1}})
	wantSteps(t, "all is handed off", p.Begin(tasks))
	tasks.Epoch = 5
	wantSteps(t, "it moves again", p.Begin(tasks), Step{Action: AskImport, To: "n2", Parts: []int{0, 1}})
}

// A copy is whole when its successor has confirmed all of it.
func TestPlanOfACopy(t *testing.T) {
	p := NewPlan("n1")
	tasks := limiter.Tasks{Epoch: 3, Copy: map[string][]int{"n2": {4, 5}, "n3": {4}}}
	s := p.Begin(tasks)
	wantSteps(t, "begins", s, Step{Action: Copy, To: "n2", Parts: []int{4, 5}}, Step{Action: Copy, To: "n3", Parts: []int{4}})
	wantSteps(t, "one was not confirmed", p.Done(s[1], Outcome{Count: 1, Epoch: 3}))
	s = p.Done(s[0], Outcome{OK: true, Count: 1, Epoch: 3})
	wantSteps(t, "one is whole", s, Step{Action: MarkCopied, To: "n2", Parts: []int{4}}, Step{Action: Copy, To: "n2", Parts: []int{5}})
	wantSteps(t, "the other again", p.Begin(tasks), Step{Action: Copy, To: "n3", Parts: []int{4}})
	wantSteps(t, "the last, under another map", p.Done(s[1], Outcome{OK: true, Count: 1, Epoch: 4}), Step{Action: MarkCopied, To: "n2", Parts: []int{5}})
	wantSteps(t, "it is over", p.Begin(tasks), Step{Action: Copy, To: "n2", Parts: []int{4, 5}})
}

// Fallback usage goes to all holders of its account, to each once at a time.
func TestPlanOfABeat(t *testing.T) {
	p := NewPlan("n1")
	holders := func(account string) [3]string {
		return map[string][3]string{"a": {"n3", "n1", ""}, "b": {"n3", "n2", "n4"}}[account]
	}
	u := func(account string) limiter.FallbackUsage {
		return limiter.FallbackUsage{ID: bucket.ID{Account: account}}
	}
	s := p.Beat([]limiter.FallbackUsage{u("a"), u("b")}, holders)
	wantSteps(t, "all holders", s, Step{To: "n1"}, Step{To: "n2"}, Step{To: "n3"}, Step{To: "n4"})
	for i, want := range []int{1, 1, 2, 1} {
		if len(s[i].Usages) != want || s[i].Timeout != time.Second {
			t.Errorf("%s: %+v", s[i].To, s[i])
		}
	}
	wantSteps(t, "not answered yet", p.Beat([]limiter.FallbackUsage{u("a")}, holders))
	p.Done(s[2], Outcome{})
	wantSteps(t, "one has answered", p.Beat([]limiter.FallbackUsage{u("a")}, holders), Step{To: "n3"})
}
