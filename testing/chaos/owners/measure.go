// Package owners hurts a cluster of real processes and counts what each bucket
// admitted against what was promised for the fault.
package owners

import (
	"cmp"
	"slices"
	"time"
)

// Admission is one check that was allowed: it was decided somewhere between its
// request and its answer.
type Admission struct {
	Asked, Answered time.Time
	Units           int64
}

// Over returns the most by which a bucket of the given burst, refilled at rate
// units a second, was exceeded in any interval: over all a and b, what was asked
// after a and answered before b, less burst + rate x (b - a). It is below zero
// for a bucket that was never full.
func Over(all []Admission, burst, rate float64) float64 {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Admission) int { return a.Answered.Compare(b.Answered) })
	starts := slices.Clone(all)
	slices.SortFunc(starts, func(a, b Admission) int { return a.Asked.Compare(b.Asked) })
	worst := -burst
	for _, s := range starts {
		sum := 0.0
		for _, a := range all {
			if a.Asked.Before(s.Asked) {
				continue
			}
			sum += float64(a.Units)
			worst = max(worst, sum-burst-rate*a.Answered.Sub(s.Asked).Seconds())
		}
	}
	return worst
}

// percentile returns the value that a part p of the list does not exceed.
func percentile[T cmp.Ordered](list []T, p float64) (v T) {
	if len(list) == 0 {
		return v
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return list[min(len(list)-1, int(float64(len(list))*p))]
}
