package sim

import (
	"fmt"
	"time"

	"quorate/cluster/ring"
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
)

// AllKinds are all of them.
var AllKinds = []Kind{Kill, Freeze, Split, OneWay, Link, Slow, Join, Leave, Roll}

// Fault is one fault of a run.
type Fault struct {
	Kind        Kind
	Start, Heal time.Duration
	Nodes       []int
	owners      []int // by bucket: the owner's index when it began, -1: none
}

func (f *Fault) String() string {
	return fmt.Sprintf("%s %v %.2fs-%.2fs", f.Kind, f.Nodes, f.Start.Seconds(), f.Heal.Seconds())
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
		case Link:
			f.Nodes = f.Nodes[:min(2, w.Nodes)]
		default:
			f.Nodes = f.Nodes[:1]
		}
		w.faults = append(w.faults, f)
		w.after(f.Start-w.now, func() { w.begin(f) })
	}
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
		if !n.alive {
			return
		}
		n.alive = false
		end(func() {
			if !n.alive {
				n.start()
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
		w.loss, w.delay = max(w.loss, loss), max(w.delay, delay)
		end(func() { w.loss, w.delay = 0, 0 })
	case Join:
		if len(w.nodes) < cap(w.nodes) {
			w.add().start()
		}
	case Leave:
		n.leaving = true
		end(func() { n.leaving = false })
	case Roll:
		n.leaving = true
		w.drained(n, 50)
	}
}

// drained restarts a node when it owns nothing more, or after so many looks.
func (w *world) drained(n *node, looks int) {
	w.after(beatEvery, func() {
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
		if place[0] != ring.Nobody && t.Members[place[0]].ID == n.id || p < len(t.Moving) && t.Moving[p] && t.Members[place[1]].ID == n.id {
			return true
		}
	}
	return false
}

func (w *world) sever(links [][2]int, end func(func())) {
	for _, l := range links {
		w.cut[l]++
	}
	end(func() {
		for _, l := range links {
			w.cut[l]--
		}
	})
}

// ownerOf returns the index of a bucket's owner by the last map, -1 for none.
func (w *world) ownerOf(b *bucketRun) int {
	t := w.log[len(w.log)-1]
	p := partition(b.account)
	if p >= len(t.Places) || t.Places[p][0] == ring.Nobody {
		return -1
	}
	return w.byID[t.Members[t.Places[p][0]].ID].index
}
