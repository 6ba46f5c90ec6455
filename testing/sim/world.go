// Package sim drives the state machines of ownership, replication and fallbacks with
// virtual time through faults drawn from a seed, and checks what was
// admitted against the bounds that are promised. A seed replays its run.
//
// What is simulated: the network, clocks, processes and an idealised log. What
// is not: everything else is the product's own code.
package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// Parts is how many partitions a simulated cluster has; account i is in
// partition i % Parts.
const Parts = 4

// Config is one run.
type Config struct {
	Seed   uint64
	Nodes  int
	Mode   bucket.Mode
	CutOff bucket.CutOff
	TTL    time.Duration // of reservations; 0: as in the product
	Faults []Kind        // kinds to draw from; nil: all
	Script Script        // nil: faults are drawn
	Log    func(format string, args ...any)
}

// world is one run under way.
type world struct {
	Config
	rng    *rand.Rand
	now    time.Duration
	events events
	order  uint64

	waiters []*waiter // checks that wait, oldest first

	nodes  []*node
	byID   map[string]*node
	log    []*ledger.Map // by epoch; log[0] is the empty one
	leader *leader

	cut   map[[2]int]int // messages from, to: how many faults cut them
	cuts  int            // faults that do
	loss  float64
	twice float64 // how many messages come twice
	delay time.Duration

	electors  []*node
	claims    [Parts]claim
	broken    *Broken
	unsettled []span
	alone     map[*node]*Fault

	reservations map[string]*reservation // by id
	lastID       int                     // of a reservation

	buckets []*bucketRun
	faults  []*Fault
	stats   Stats
}

// Stats counts what a run saw.
type Stats struct {
	Checks, Allowed, Failed, Degraded, Messages int
	Reserved, Settled, Unsettled, Unknown       int   // reservations; settlements answered, without an owner, too late
	Over                                        int64 // the most that any bucket admitted above its ideal
	Events                                      int
}

// add adds another run's.
func (s *Stats) add(o *Stats) {
	s.Checks, s.Allowed, s.Failed = s.Checks+o.Checks, s.Allowed+o.Allowed, s.Failed+o.Failed
	s.Degraded, s.Messages, s.Events = s.Degraded+o.Degraded, s.Messages+o.Messages, s.Events+o.Events
	s.Reserved, s.Settled, s.Unsettled, s.Unknown = s.Reserved+o.Reserved, s.Settled+o.Settled, s.Unsettled+o.Unsettled, s.Unknown+o.Unknown
	s.Over = max(s.Over, o.Over)
}

type event struct {
	at    time.Duration
	order uint64
	node  *node // nil: the world's
	boot  uint64
	run   func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || (e[i].at == e[j].at && e[i].order < e[j].order)
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any     { x := (*e)[len(*e)-1]; *e = (*e)[:len(*e)-1]; return x }

// after runs f later, for the world.
func (w *world) after(d time.Duration, f func()) { w.push(event{at: w.now + d, run: f}) }

func (w *world) push(e event) {
	w.order++
	e.order = w.order
	heap.Push(&w.events, e)
}

// after runs f later on the node, unless that boot is over by then. What falls
// into a pause runs at its end.
func (n *node) after(d time.Duration, f func()) {
	n.w.push(event{at: n.w.now + d, node: n, boot: n.boot, run: f})
}

// run goes on until nothing is left or the time is over.
func (w *world) run(until time.Duration) {
	for len(w.events) > 0 && w.events[0].at <= until {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		w.stats.Events++
		if n := e.node; n != nil {
			if n.boot != e.boot || !n.alive {
				continue
			}
			if n.paused > w.now {
				e.at = n.paused
				heap.Push(&w.events, e) // in its old order
				continue
			}
		}
		e.run()
		w.wake()
	}
	w.now = until
}

// send delivers a message from one node to another, perhaps.
func (w *world) send(from, to *node, f func()) {
	w.stats.Messages++
	if from != to && (w.cut[[2]int{from.index, to.index}] > 0 || w.rng.Float64() < w.loss) {
		return
	}
	if w.twice > 0 && from != to && w.rng.Float64() < w.twice {
		w.deliver(from, to, f)
	}
	w.deliver(from, to, f)
}

func (w *world) deliver(from, to *node, f func()) {
	d := 200*time.Microsecond + time.Duration(w.rng.Int64N(int64(time.Millisecond)))
	if w.delay > 0 && from != to {
		d += time.Duration(w.rng.Int64N(int64(w.delay)))
	}
	// To whatever boot is there when it arrives.
	w.push(event{at: w.now + d, run: func() {
		if !to.alive {
			return
		}
		if to.paused > w.now {
			w.push(event{at: to.paused, node: to, boot: to.boot, run: f})
			return
		}
		f()
	}})
}

// linked reports whether two nodes can talk both ways now.
func (w *world) linked(a, b *node) bool {
	return a == b || w.cut[[2]int{a.index, b.index}] == 0 && w.cut[[2]int{b.index, a.index}] == 0
}

func (w *world) running(n *node) bool { return n.alive && n.paused <= w.now }

func (w *world) logf(format string, args ...any) {
	if w.Log != nil {
		w.Log("%8.3fs "+format, append([]any{w.now.Seconds()}, args...)...)
	}
}

func (w *world) name(i int) string { return fmt.Sprintf("n%d", i+1) }
