package validate

import (
	"fmt"
	"slices"
	"time"

	"quorate/testing/chaos/model"
)

// silence is how long no entry may be made while a majority is there: what an
// election and clients that wait for a dead node take, or a disk that hangs before it
// is given up, and much for machines that do other things too. Two faults together
// may cost two elections.
const (
	silence     = 15 * time.Second
	silenceBoth = 20 * time.Second
)

// Writes checks that entries go on whenever faults leave a majority, and that one cut
// link does not make nodes elect again and again.
func Writes(h *model.History) (Result, map[*model.Fault]time.Duration) {
	r := Result{Invariant: "entries go on", OK: true, Bound: fmt.Sprintf("where a majority is left, none for %s at most, %s in two faults; one term more at most where one link is cut", silence, silenceBoth)}
	var made []time.Duration
	for _, op := range h.Ops {
		if op.Type != model.Read && op.Outcome == model.Applied {
			made = append(made, op.Answered)
		}
	}
	slices.Sort(made)
	faults, still := h.Faults(), map[*model.Fault]time.Duration{}
	var worst time.Duration
	checked := 0
	for i, f := range faults {
		still[f] = pause(made, f.Start, f.Over)
		left, alone := majorityLeft(h, faults, i)
		if !left {
			continue
		}
		checked++
		worst = max(worst, still[f])
		if still[f] > silenceBoth || alone && still[f] > silence {
			r.fail("no entry was made for %.1f s in %s of %v at %.1f s", still[f].Seconds(), f.Name, f.Nodes, f.Start.Seconds())
		}
		if more := terms(h, f.Start, f.Over); f.Kind == model.OneLink && alone && more > 1 {
			r.fail("%d terms began in %s of %v at %.1f s", more, f.Name, f.Nodes, f.Start.Seconds())
		}
	}
	r.Figure = fmt.Sprintf("none for %.1f s at most, in %d faults that left a majority", worst.Seconds(), checked)
	return r, still
}

// majorityLeft reports whether more than half of the nodes are untouched by a fault,
// and by those that last while it does, or hear each other all the same; and whether
// there are no others.
func majorityLeft(h *model.History, faults []*model.Fault, at int) (left, alone bool) {
	f := faults[at]
	touched := map[string]bool{}
	alone = true
	for i, g := range faults {
		if i != at && (!hinders(g) || !f.During(g.Start, g.Over)) {
			continue
		}
		alone = alone && i == at
		if g.Kind == model.Loss { // what is lost is a matter of luck
			return false, alone
		}
		if hinders(g) {
			for _, node := range g.Nodes {
				touched[node] = true
			}
		}
	}
	if alone && f.Kind == model.OneLink {
		return true, true
	}
	return 2*len(touched) < len(h.Nodes), alone
}

// hinders reports whether a fault may keep nodes from agreeing.
func hinders(f *model.Fault) bool {
	switch f.Kind {
	case model.Clock, model.Move, model.None:
		return false
	}
	return true
}

// pause is the longest time between two instants, as far as it lies in an interval.
func pause(at []time.Duration, from, to time.Duration) (longest time.Duration) {
	i, _ := slices.BinarySearch(at, from)
	last := from
	for ; i < len(at) && at[i] <= to; i++ {
		longest, last = max(longest, at[i]-last), at[i]
	}
	return max(longest, to-last)
}

// terms is how many terms began in an interval.
func terms(h *model.History, from, to time.Duration) (n uint64) {
	var first, last uint64
	for _, v := range h.Views {
		if v.At <= from || first == 0 {
			first = v.Term
		}
		if v.At <= to {
			last = max(last, v.Term)
		}
	}
	return max(last, first) - first
}
