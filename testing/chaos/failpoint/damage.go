package failpoint

import (
	"context"
	"fmt"
	"time"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/model"
	"quorate/testing/testcluster"
)

// Damage lists the faults that change bytes on a disk.
var Damage = []Fault{
	{"bit-flips", "bytes of a stopped node's log change", bitFlips},
}

// Clocks lists the faults that need a program whose wall clock can be set.
var Clocks = []Fault{
	{"clock-steps", "the wall clock of each node in turn jumps by a day or less", clockSteps},
}

// bitFlips damages the log of a node that no client uses. The node must refuse to
// start, or run and hold the same state as the others.
func bitFlips(e *Env) error {
	d := e.Backend.(backend.Damage)
	n, err := join(e, "b")
	if err != nil {
		return err
	}
	f := e.Begin("bit-flips", model.Kill, "", true, n)
	if err := e.down(n); err != nil {
		return err
	}
	if err := d.FlipBits(n, e.Rng); err != nil {
		return err
	}
	if err := e.Backend.Start(n); err != nil {
		return err
	}
	_ = until(15*time.Second, func() bool { // if neither, Settle returns why
		return e.Backend.Ended(n) || ready(n)
	})
	if e.Backend.Ended(n) {
		f.Note = "it refused to start"
		e.Heal(f)
		if err := e.Settle(f); err != nil {
			return err
		}
		return remove(e, n, false)
	}
	f.Note = "it went on"
	e.setUp(n, true)
	if err := e.Settle(f); err != nil {
		return err
	}
	e.Traffic.Hold(true)
	err = e.Traffic.Same(context.Background(), e.Up())
	e.Traffic.Hold(false)
	if err != nil {
		return fmt.Errorf("bit-flips: %w", err)
	}
	return remove(e, n, true)
}

// ready reports whether a node answers that it is ready.
func ready(n *testcluster.Node) bool {
	r, err := n.Do(context.Background(), "GET", "/readyz", nil)
	return err == nil && r.Status == 200
}

// clockSteps sets one clock after the other wrong, by so much that the cluster would
// forget all keys if it used that time.
func clockSteps(e *Env) error {
	c := e.Backend.(backend.Clocks)
	if err := e.Prepare(); err != nil {
		return err
	}
	leader := e.Leader()
	for _, n := range e.Backend.Nodes() {
		by := []time.Duration{25 * time.Hour, -25 * time.Hour, time.Hour, -time.Hour}[e.Rng.IntN(4)]
		if n == leader { // whose clock stamps the log
			by = 25 * time.Hour
		}
		f := e.Begin("clock-steps", model.Clock, fmt.Sprintf("by %s", by), false, n)
		if err := c.Step(n, by); err != nil {
			return err
		}
		e.Hold(3 * time.Second)
		if err := c.Step(n, 0); err != nil {
			return err
		}
		if err := e.Settle(f); err != nil {
			return err
		}
	}
	return nil
}
