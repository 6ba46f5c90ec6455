package sim

import (
	"fmt"
	"slices"
	"time"

	"quorate/fsm/ledger"
)

// Kind is a kind of fault.
type Kind string

// The faults.
const (
	Kill   Kind = "kill"    // and restart after a while
	Freeze Kind = "freeze"  // and resume
	Split  Kind = "split"   // some nodes from the others
	OneWay Kind = "one-way" // a node hears nobody, or nobody hears it
	Link   Kind = "link"    // two nodes from each other
	Slow   Kind = "slow"    // loss to 20 %, delay to 300 ms
	Join   Kind = "join"
	Leave  Kind = "leave"   // a drain, and back
	Roll   Kind = "restart" // a drain, a restart, and back
	Lag    Kind = "lag"     // a node learns of maps late, up to 2 s
	Voters Kind = "voters"  // another node becomes a voter in the place of one
)

// AllKinds are all of them.
var AllKinds = []Kind{Kill, Freeze, Split, OneWay, Link, Slow, Join, Leave, Roll, Lag, Voters}

// The course of a run: the cluster forms, faults begin, all faults are healed, and
// excess admissions are paid back.
const (
	formed   = 3 * time.Second
	lastFrom = 10 * time.Second
	healed   = 17 * time.Second
	ended    = 26 * time.Second
)

// takeover is the longest time that a fault may have effects after it has healed:
// the next owner decides by then.
const takeover = 8 * time.Second

// holds are the longest times for which clients hold reservations: less than a fault
// takes to be noticed, less than a takeover, and longer than both.
var holds = []time.Duration{200 * time.Millisecond, time.Second, 8 * time.Second}

// shortTTL is how long a reservation can be settled in some runs.
const shortTTL = 3 * time.Second

// lookEvery is the time between two checks of the invariants.
const lookEvery = 50 * time.Millisecond

// Fault is one fault of a run.
type Fault struct {
	Kind        Kind
	Start, Heal time.Duration
	Nodes       []int
	Over        time.Duration // when the cluster had settled
	owners      []int         // by bucket: the owner's index when it began, -1: none; nil: it did nothing
	moved       []bool        // by bucket: it was given to one of Nodes since
	knew        [][]int       // of a kill, by bucket: who knew enough when it began
	alone       []bool        // likewise: there were no whole copies
}

// owns reports whether a fault strikes who decides on a bucket.
func (f *Fault) owns(i int) bool {
	return f.owners[i] < 0 || slices.Contains(f.Nodes, f.owners[i]) || f.moved != nil && f.moved[i]
}

// lonely reports whether a kill struck when nobody had a copy.
func (f *Fault) lonely(i int) bool { return f.alone != nil && f.alone[i] }

// hits reports whether a fault keeps a node from giving what it knows.
func (f *Fault) hits(node int) bool {
	switch f.Kind {
	case Slow:
		return true
	case Kill, Freeze, Split, OneWay, Link:
		return slices.Contains(f.Nodes, node)
	}
	return false
}

func (f *Fault) String() string {
	return fmt.Sprintf("%s %v %.2fs-%.2fs(%.2fs)", f.Kind, f.Nodes, f.Start.Seconds(), f.Heal.Seconds(), f.Over.Seconds())
}

// plan draws the faults of a run, to begin between the two times.
func (w *world) plan(from, to time.Duration) {
	kinds := w.Faults
	if kinds == nil {
		kinds = AllKinds
	}
	for range []int{1, 1, 1, 2, 3}[w.rng.IntN(5)] { // most alone, where the bounds are tight
		f := &Fault{Kind: kinds[w.rng.IntN(len(kinds))]}
		f.Start = from + time.Duration(w.rng.Int64N(int64(to-from)))
		f.Heal = f.Start + 50*time.Millisecond + time.Duration(w.rng.Int64N(int64(6*time.Second)))
		f.Nodes = w.rng.Perm(w.Nodes)
		switch f.Kind {
		case Split:
			f.Nodes = f.Nodes[:1+w.rng.IntN(w.Nodes/2)]
		case Link, Voters:
			f.Nodes = f.Nodes[:min(2, w.Nodes)]
		case Kill:
			f.Nodes = f.Nodes[:[]int{1, 1, 1, 1, 1, 1, 2, w.Nodes}[w.rng.IntN(8)]]
		default:
			f.Nodes = f.Nodes[:1]
		}
		w.fault(f)
	}
	if w.rng.IntN(3) == 0 {
		w.change(w.buckets[w.rng.IntN(len(w.buckets))], from+time.Duration(w.rng.Int64N(int64(to-from))))
	}
}

func (w *world) fault(f *Fault) {
	w.faults = append(w.faults, f)
	w.after(f.Start-w.now, func() { w.begin(f) })
}

// begin lets a fault begin, and sees to its end.
func (w *world) begin(f *Fault) {
	w.logf("begins: %s", f)
	for _, b := range w.buckets {
		f.owners = append(f.owners, w.ownerOf(b))
	}
	n := w.nodes[f.Nodes[0]]
	end := func(do func()) {
		w.after(f.Heal-w.now, func() { w.logf("ends: %s", f); do() })
	}
	switch f.Kind {
	case Kill:
		w.kill(f)
		end(func() {
			for _, i := range f.Nodes {
				if n := w.nodes[i]; !n.alive {
					n.start()
				}
			}
		})
	case Freeze:
		n.paused = max(n.paused, f.Heal)
		end(func() {})
	case Split:
		in := map[int]bool{}
		for _, i := range f.Nodes {
			in[i] = true
		}
		var links [][2]int
		for a := range w.nodes {
			for b := range w.nodes {
				if in[a] != in[b] {
					links = append(links, [2]int{a, b})
				}
			}
		}
		w.sever(links, end)
	case OneWay:
		deaf := w.rng.IntN(2) == 0
		var links [][2]int
		for b := range w.nodes {
			if b == n.index {
				continue
			}
			if deaf {
				links = append(links, [2]int{b, n.index})
			} else {
				links = append(links, [2]int{n.index, b})
			}
		}
		w.sever(links, end)
	case Link:
		a, b := f.Nodes[0], f.Nodes[1]
		w.sever([][2]int{{a, b}, {b, a}}, end)
	case Slow:
		loss, delay := w.rng.Float64()*0.2, time.Duration(w.rng.Int64N(int64(300*time.Millisecond)))
		w.loss, w.delay, w.twice = max(w.loss, loss), max(w.delay, delay), 0.1
		end(func() { w.loss, w.delay, w.twice = 0, 0, 0 })
	case Lag:
		n.lag += w.between(0, 2*time.Second)
		end(func() { n.lag = 0 })
	case Voters:
		w.vote(w.nodes[f.Nodes[0]], w.nodes[f.Nodes[1]])
	case Join:
		if len(w.nodes) < cap(w.nodes) {
			joins := w.add()
			joins.member = false // until the leader takes it in
			joins.start()
		}
	case Leave:
		n.leaving = true
		end(func() { n.leaving = false })
	case Roll:
		n.leaving = true
		w.drained(n, 50)
	}
}

// kill kills nodes, and notes who could take over from them.
func (w *world) kill(f *Fault) {
	f.knew, f.alone = make([][]int, len(w.buckets)), make([]bool, len(w.buckets))
	for i, b := range w.buckets {
		if f.owners[i] < 0 || !slices.Contains(f.Nodes, f.owners[i]) || !w.nodes[f.owners[i]].alive {
			continue
		}
		f.knew[i] = w.knows(b, w.nodes[f.owners[i]], f.Nodes)
		f.alone[i] = w.incomplete(w.nodes[f.owners[i]], partition(b.account))
	}
	for _, i := range f.Nodes {
		w.nodes[i].alive = false
	}
}

// knows returns who knows as much of an owner's bucket as was promised.
func (w *world) knows(b *bucketRun, owner *node, killed []int) (out []int) {
	p := partition(b.account)
	units := func(n *node, in time.Duration) (u int64) {
		for _, k := range n.local.ExportBuckets(p) {
			if k.Account == b.account {
				u = used(&k, in)
			}
		}
		return u
	}
	l := b.limits[0].Limit
	need := units(owner, apart(l.Window)) - max(1, l.Burst*5/100)
	for _, n := range w.nodes {
		if n != owner && n.alive && !slices.Contains(killed, n.index) && units(n, 0)+1+l.Burst/50 >= need {
			out = append(out, n.index)
		}
	}
	return out
}

// incomplete reports whether an owner has no whole copy of a partition anywhere.
func (w *world) incomplete(owner *node, p int) bool {
	place := w.log[len(w.log)-1].Places[p]
	have := 0
	lacks := owner.local.Tasks().Copy
	for _, at := range place[1:] {
		if at == ledger.NoMember {
			continue
		}
		if id := owner.ownership.Map().Members; int(at) < len(id) && !slices.Contains(lacks[id[at].ID], p) {
			have++
		}
	}
	return have == 0
}

// drained restarts a node when it owns nothing more, or after so many looks.
func (w *world) drained(n *node, looks int) {
	w.after(timing.Ping, func() {
		if looks > 0 && n.alive && w.owns(n) {
			w.drained(n, looks-1)
			return
		}
		if looks == 0 { // it could not hand over: it goes on
			n.leaving = false
			return
		}
		n.alive = false
		w.logf("%s stops", n.id)
		w.after(500*time.Millisecond, func() {
			n.leaving = false
			if !n.alive {
				n.start()
			}
		})
	})
}

func (w *world) owns(n *node) bool {
	t := w.log[len(w.log)-1]
	for p, place := range t.Places {
		if place[0] != ledger.NoMember && t.Members[place[0]].ID == n.id || p < len(t.Moving) && t.Moving[p] && t.Members[place[1]].ID == n.id {
			return true
		}
	}
	return false
}

func (w *world) sever(links [][2]int, end func(func())) {
	for _, l := range links {
		w.cut[l]++
	}
	w.cuts++
	end(func() {
		w.cuts--
		for _, l := range links {
			w.cut[l]--
		}
	})
}

// ownerOf returns the index of a bucket's owner by the last map, -1 for none.
func (w *world) ownerOf(b *bucketRun) int {
	t := w.log[len(w.log)-1]
	p := partition(b.account)
	if p >= len(t.Places) || t.Places[p][0] == ledger.NoMember {
		return -1
	}
	return w.byID[t.Members[t.Places[p][0]].ID].index
}
