package failpoint

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// apart is the longest time between the starts of two faults of a pair.
const apart = 4 * time.Second

// alone lists the faults that cannot be combined: they affect all nodes, one after the
// other, or need a cluster without other faults.
var alone = []string{"kill-all", "power-loss-all", "rolling-restart", "no-majority", "starve-all", "clock-steps", "bit-flips"}

// Together reports whether two faults may be combined.
func Together(a, b Fault) bool {
	in := func(list []Fault, f Fault) bool {
		return slices.ContainsFunc(list, func(g Fault) bool { return g.Name == f.Name })
	}
	network := slices.Concat(Network, Links, Delays)
	switch {
	case slices.Contains(alone, a.Name) || slices.Contains(alone, b.Name):
		return false
	case in(network, a) && in(network, b): // removing one restores all links
		return false
	}
	// One change at a time; and what delays packets must not lose a node.
	change := slices.Concat(Membership, Delays)
	return !in(change, a) || !in(change, b)
}

// Pair injects two faults at different nodes, the second while the first may last, and
// waits for both.
func (r *Run) Pair(a, b Fault, rng *rand.Rand) error {
	e := &Env{Run: r, Rng: rng}
	if err := e.Prepare(); err != nil {
		return err
	}
	first, second := rand.New(rand.NewPCG(rng.Uint64(), 1)), rand.New(rand.NewPCG(rng.Uint64(), 2))
	later := time.Duration(rng.Int64N(int64(apart)))
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }() // also after a panic
		err = r.strike(a, first, true)
	}()
	time.Sleep(later)
	return errors.Join(r.strike(b, second, true), <-done)
}
