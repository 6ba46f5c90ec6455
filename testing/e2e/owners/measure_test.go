// Package owners hurts a cluster of real processes and counts what each bucket
// admitted against what was promised for the fault.
package owners

import (
	"cmp"
	"slices"
	"time"

	"quorate/testing/chaos/model"
)

// epoch is what times are counted from.
var epoch = time.Now()

// admission is a check of some units that was allowed, decided between two
// instants.
func admission(asked, answered time.Time, units int64) model.Admission {
	return model.Admission{Asked: asked.Sub(epoch), Answered: answered.Sub(epoch), Units: units}
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
