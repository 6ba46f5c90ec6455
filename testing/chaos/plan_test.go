package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/failpoint"
)

// replay returns the command that repeats the run.
func replay() string {
	s := fmt.Sprintf("make chaos SEED=%d", *seed)
	if *soak > 0 {
		s = fmt.Sprintf("make soak MINUTES=%.0f SEED=%d", soak.Minutes(), *seed)
	}
	if *only != "" {
		s += " ONLY=" + *only
	}
	if *nodes > 0 {
		s += fmt.Sprintf(" NODES=%d", *nodes)
	}
	if *faults != "" {
		s += " FAULTS=" + *faults
	}
	return s
}

// chosen returns the faults of the flag if it is set. Else it returns the short set of
// a backend, or for a soak all faults.
func chosen(t *testing.T, short ...string) []failpoint.Fault {
	if *faults != "" {
		short = strings.Split(*faults, ",")
	} else if *soak > 0 {
		return failpoint.All()
	}
	list, err := failpoint.Named(short...)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// draw chooses the next faults of a soak. Two times of three it draws a second fault,
// which is used if the two can be combined.
func (p *plan) draw(b backend.Backend, rng *rand.Rand) []failpoint.Fault {
	var can []failpoint.Fault
	for _, f := range p.faults {
		if failpoint.Cannot(b, f) == "" {
			can = append(can, f)
		}
	}
	first, second := can[rng.IntN(len(can))], can[rng.IntN(len(can))]
	if rng.IntN(3) > 0 && failpoint.Together(first, second) {
		return []failpoint.Fault{first, second}
	}
	return []failpoint.Fault{first}
}
