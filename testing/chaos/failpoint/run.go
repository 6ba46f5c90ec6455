// Package failpoint injects faults into a cluster under load. It records when a fault
// began, when its cause was removed and when the cluster was whole again; the package
// validate holds what it may cost.
package failpoint

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/traffic"
	"quorate/testing/testcluster"
)

// Fault is one fault that a run can inject.
type Fault struct {
	Name string
	What string // a description in a few words
	Do   func(*Env) error
}

// Run is a cluster under load, and the faults in it. Its methods may be called
// concurrently.
type Run struct {
	Backend backend.Backend
	Traffic *traffic.Traffic
	Rec     *traffic.Recorder

	mu       sync.Mutex
	up       []*testcluster.Node // that should be running; guarded by mu
	taken    []*testcluster.Node // that a fault uses; guarded by mu
	unhealed int                 // faults whose cause is not removed; guarded by mu
	leader   string              // as last seen; guarded by mu
}

// NewRun returns the Run of a cluster whose nodes all run.
func NewRun(b backend.Backend, t *traffic.Traffic, rec *traffic.Recorder) *Run {
	return &Run{Backend: b, Traffic: t, Rec: rec, up: slices.Clone(b.Nodes())}
}

// Strike injects a fault and waits until the cluster is whole again.
func (r *Run) Strike(f Fault, rng *rand.Rand) error { return r.strike(f, rng, false) }

func (r *Run) strike(f Fault, rng *rand.Rand, prepared bool) error {
	e := &Env{Run: r, Rng: rng, prepared: prepared}
	defer e.leave()
	err := f.Do(e)
	_ = until(servedWithin, func() bool { e.serve(); return len(e.hurt) == 0 }) // if not, validate reports it
	for _, w := range e.hurt {
		w.HurtUntil = e.Rec.Now()
	}
	return err
}

// Up returns the nodes that should be running.
func (r *Run) Up() []*testcluster.Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.up)
}

func (r *Run) setUp(n *testcluster.Node, up bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up = slices.DeleteFunc(r.up, func(o *testcluster.Node) bool { return o == n })
	if up {
		r.up = append(r.up, n)
	}
}

// majority reports whether a majority of the founders, which vote, should be running.
func (r *Run) majority() bool {
	founders, up := r.Backend.Nodes(), 0
	for _, n := range r.Up() {
		if slices.Contains(founders, n) {
			up++
		}
	}
	return 2*up > len(founders)
}

// Watch asks the nodes for their leader until ctx ends.
func (r *Run) Watch(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		best := testcluster.Status{}
		for _, n := range r.Up() {
			if s, err := status(ctx, n); err == nil && s.Leader != nil && s.Term >= best.Term {
				best = *s
			}
		}
		leader := ""
		if best.Leader != nil {
			leader = *best.Leader
		}
		r.mu.Lock()
		r.leader = leader
		r.mu.Unlock()
		r.Rec.View(leader, best.Term, best.Epoch)
	}
}

func status(ctx context.Context, n *testcluster.Node) (*testcluster.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	r, err := n.Do(ctx, "GET", "/v1/cluster", nil)
	if err != nil {
		return nil, err
	}
	s := &testcluster.Status{}
	return s, r.JSON(s)
}
