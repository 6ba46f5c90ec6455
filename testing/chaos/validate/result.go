// Package validate checks the history of a run against the bounds and invariants. It is
// pure: its result depends only on the history.
package validate

import (
	"fmt"

	"quorate/testing/chaos/model"
)

// Result is the result of one invariant.
type Result struct {
	Invariant string
	OK        bool
	Figure    string   // what was seen
	Bound     string   // what was promised
	Details   []string // the first few violations
}

const maxDetails = 10

func (r *Result) fail(format string, args ...any) {
	r.OK = false
	if len(r.Details) < maxDetails {
		r.Details = append(r.Details, fmt.Sprintf(format, args...))
	}
}

// Report holds all results.
type Report struct {
	Results []Result
	Cost    []Cost // of each fault, in their order
}

// OK reports whether every invariant held.
func (r *Report) OK() bool {
	for _, one := range r.Results {
		if !one.OK {
			return false
		}
	}
	return true
}

// All checks all invariants.
func All(h *model.History) *Report {
	over, cost := OverAdmission(h)
	writes, still := Writes(h)
	for i := range cost {
		cost[i].Still, cost[i].Recovery = still[cost[i].Fault], cost[i].Fault.Recovery(h.Faults())
	}
	return &Report{
		Results: []Result{over, OneOwner(h), Service(h), writes, Linearizable(h), ExactlyOnce(h), SameState(h), Whole(h), Leaks(h)},
		Cost:    cost,
	}
}

// SoFar returns failures of Service that are certain while a run goes on: checks in now,
// but not in failed, that no fault explains.
func SoFar(faults []*model.Fault, failed, now []model.Failure) (lines []string) {
	for _, f := range now[len(failed):] {
		if !anyHurts(faults, f.Node, f.Asked, f.Answered) {
			lines = append(lines, fmt.Sprintf("a check at %s failed at %.2f s: %.120s", f.Node, f.Answered.Seconds(), f.What))
		}
	}
	return lines[:min(len(lines), 3)]
}
