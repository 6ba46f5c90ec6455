package validate

import (
	"fmt"
	"slices"
	"time"

	"quorate/testing/chaos/model"
)

// silence is the longest time without an entry while there is a majority: an election,
// clients that wait for a dead node, a disk that hangs before its node ends, and time for
// a busy machine. Two faults together may cause two elections.
const (
	silence     = 15 * time.Second
	silenceBoth = 20 * time.Second
)

// Writes checks that entries continue while there is a majority, and that one cut link
// does not cause repeated elections.
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

// majorityLeft reports whether more than half of the nodes are unaffected by a fault and
// those at the same time, or can still reach each other, and whether all nodes can.
func majorityLeft(h *model.History, faults []*model.Fault, at int) (left, alone bool) {
	f := faults[at]
	touched := map[string]bool{}
	alone = true
	for i, g := range faults {
		if i != at && (!hinders(g) || !f.During(g.Start, g.Over)) {
			continue
		}
		alone = alone && i == at
		if g.Kind == model.Loss { // which packets are lost is random
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

// hinders reports whether a fault may prevent agreement.
func hinders(f *model.Fault) bool {
	switch f.Kind {
	case model.Clock, model.Move, model.None:
		return false
	}
	return true
}

// pause returns the longest time between two instants within an interval.
func pause(at []time.Duration, from, to time.Duration) (longest time.Duration) {
	i, _ := slices.BinarySearch(at, from)
	last := from
	for ; i < len(at) && at[i] <= to; i++ {
		longest, last = max(longest, at[i]-last), at[i]
	}
	return max(longest, to-last)
}

// terms returns how many terms began in an interval.
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
