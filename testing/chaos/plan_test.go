package chaos

import (
	"fmt"
	"strings"
	"testing"

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
	if *faults != "" {
		s += " FAULTS=" + *faults
	}
	return s
}

// chosen is the short set of a backend, or what was asked for.
func chosen(t *testing.T, short ...string) []failpoint.Fault {
	if *soak > 0 {
		return nil
	}
	if *faults != "" {
		short = strings.Split(*faults, ",")
	}
	list, err := failpoint.Named(short...)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// draw chooses the next fault of a soak.
func (p *plan) draw(env *failpoint.Env) failpoint.Fault {
	var can []failpoint.Fault
	for _, f := range failpoint.All() {
		if failpoint.Cannot(env.Backend, f) == "" {
			can = append(can, f)
		}
	}
	return can[env.Rng.IntN(len(can))]
}
