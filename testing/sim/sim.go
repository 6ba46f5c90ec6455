package sim

import (
	"errors"
	"math/rand/v2"
	"time"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

var errUnsettled = errors.New("the cluster has not settled by the end")

// Result is how a run went.
type Result struct {
	Stats     Stats
	Faults    []*Fault
	Violation error // nil: every bound was kept
}

// Draw returns the run of a seed: its size and what the policy says are drawn
// too.
func Draw(seed uint64) Config {
	rng := rand.New(rand.NewPCG(seed, 0x51))
	c := Config{Seed: seed, Nodes: []int{3, 3, 5, 3, 3, 5, 3, 9}[seed%8]}
	c.Mode = []bucket.Mode{bucket.Bounded, bucket.Bounded, bucket.Bounded, bucket.Bounded, bucket.Sync, bucket.Async}[rng.IntN(6)]
	c.CutOff = []bucket.CutOff{bucket.Share, bucket.Share, bucket.Share, bucket.Full, bucket.Deny}[rng.IntN(5)]
	if rng.IntN(3) == 0 {
		c.TTL = shortTTL
	}
	return c
}

// Run makes one run. The same Config gives the same Result.
func Run(c Config) Result {
	w := &world{Config: c, rng: rand.New(rand.NewPCG(c.Seed, 0x9e3779b97f4a7c15)), byID: map[string]*node{}, cut: map[[2]int]int{}, alone: map[*node]*Fault{}, reservations: map[string]*reservation{}, log: []*ledger.Map{{}}}
	w.nodes = make([]*node, 0, c.Nodes+3)
	for range c.Nodes {
		w.add()
	}
	w.traffic()
	for _, n := range w.nodes {
		n.start()
	}
	w.every(timing.Ping, func() { w.elect(); w.lead() })
	w.every(50*time.Millisecond, w.spread)
	w.run(formed)
	if c.Script != nil {
		c.Script(w)
	} else {
		w.plan(formed, lastFrom)
	}
	w.every(lookEvery, w.look)
	for _, b := range w.buckets {
		w.client(b, ended)
	}
	w.run(ended)
	w.unapplied()
	worst := w.measure()
	r := Result{Stats: w.stats, Faults: w.faults}
	if worst != nil {
		r.Violation = worst
	}
	if w.broken != nil {
		r.Violation = w.broken
	}
	if r.Violation == nil && !w.settled() {
		r.Violation = errUnsettled
	}
	return r
}

func (w *world) every(d time.Duration, f func()) { w.after(d, func() { f(); w.every(d, f) }) }

// add makes a node that has not started.
func (w *world) add() *node {
	n := &node{w: w, index: len(w.nodes), id: w.name(len(w.nodes)), member: true}
	n.drift = (w.rng.Float64()*2 - 1) * 0.01
	w.nodes = append(w.nodes, n)
	w.byID[n.id] = n
	return n
}
