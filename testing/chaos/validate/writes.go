package validate

import (
	"fmt"
	"slices"
	"time"

	"quorate/testing/chaos/model"
)

// silence is how long no entry may be made while a majority is there: what an
// election and clients that wait for a dead node take, and much for machines that
// do other things too.
const silence = 15 * time.Second

// Writes checks that entries go on whenever one fault leaves a majority, and that
// one cut link does not make nodes elect again and again.
func Writes(h *model.History) (Result, map[*model.Fault]time.Duration) {
	r := Result{Invariant: "entries go on", OK: true, Bound: fmt.Sprintf("where a majority is left, none for %s at most; one term more at most where one link is cut", silence)}
	var made []time.Duration
	for _, op := range h.Ops {
		if op.Type != model.Read && op.Outcome == model.Applied {
			made = append(made, op.Answered)
		}
	}
	slices.Sort(made)
	faults, still := h.Faults(), map[*model.Fault]time.Duration{}
	var worst time.Duration
	for i, f := range faults {
		still[f] = pause(made, f.Start, f.Over)
		if !majorityLeft(h, f) || together(h, &model.Bucket{}, faults, i) > 0 {
			continue
		}
		worst = max(worst, still[f])
		if still[f] > silence {
			r.fail("no entry was made for %.1f s in %s of %v at %.1f s", still[f].Seconds(), f.Name, f.Nodes, f.Start.Seconds())
		}
		if more := terms(h, f.Start, f.Over); f.Kind == model.OneLink && more > 1 {
			r.fail("%d terms began in %s of %v at %.1f s", more, f.Name, f.Nodes, f.Start.Seconds())
		}
	}
	r.Figure = fmt.Sprintf("none for %.1f s at most", worst.Seconds())
	return r, still
}

// majorityLeft reports whether more than half of the nodes are untouched by a fault,
// or hear each other all the same.
func majorityLeft(h *model.History, f *model.Fault) bool {
	switch f.Kind {
	case model.Loss:
		return false // what is lost is a matter of luck
	case model.OneLink, model.Disk, model.Clock, model.Move, model.None:
		return true
	}
	return 2*len(f.Nodes) < len(h.Nodes)
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
