package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/failpoint"
)

// replay is the command that does it all again.
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

// chosen is the short set of a backend, or what was asked for; what a soak draws
// from, all or what was asked for.
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

// draw chooses the next faults of a soak: two together, two times of three, where
// they go together.
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
