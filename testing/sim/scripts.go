package sim

import (
	"time"

	"quorate/limiter/bucket"
)

// Script plans the faults of a run that is aimed at one protection, instead of
// chance alone. It is called once the cluster has formed; what it draws comes
// from the seed all the same.
type Script func(w *world)

// cast returns the leader and two others of the voters, nil before there is one.
func (w *world) cast() (leader, a, b *node) {
	if w.leader == nil {
		return nil, nil, nil
	}
	var others []*node
	for _, v := range w.voters() {
		if v != w.leader.n {
			others = append(others, v)
		}
	}
	if w.rng.IntN(2) == 0 {
		others[0], others[1] = others[1], others[0]
	}
	return w.leader.n, others[0], others[1]
}

// between draws a time.
func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rng.Int64N(int64(to-from)))
}

// strike has a fault begin in a while.
func (w *world) strike(kind Kind, in, lasts time.Duration, nodes ...*node) {
	f := &Fault{Kind: kind, Start: w.now + in, Heal: w.now + in + lasts}
	for _, n := range nodes {
		f.Nodes = append(f.Nodes, n.index)
	}
	w.fault(f)
}

// twice kills a node, starts it at once, before anybody has missed it, and kills
// it again: what the second boot took must be known to copies.
func twice(w *world) {
	w.after(w.between(0, 2*time.Second), func() {
		if _, a, _ := w.cast(); a != nil {
			w.strike(Kill, time.Millisecond, w.between(20*time.Millisecond, 300*time.Millisecond), a)
			w.strike(Kill, w.between(3*time.Second, 6*time.Second), 3*time.Second, a)
		}
	})
}

// forgetful has a grantor restart, at a snapshot of long ago, just when an owner
// is heard again that was drained while it was cut off, and that the leader still
// cannot reach. The owner need not wait for copies.
func forgetful(w *world) {
	w.Mode = bucket.Async
	w.after(w.between(0, time.Second), func() {
		leader, a, b := w.cast()
		if a == nil {
			return
		}
		b.adoptsLate = true
		b.keeps = true
		cut := w.between(3300*time.Millisecond, 5*time.Second)
		w.strike(Split, time.Millisecond, cut, a)
		w.strike(Link, cut-time.Millisecond, 4*time.Second, a, leader)
		w.strike(Kill, cut-w.between(0, 100*time.Millisecond), w.between(100*time.Millisecond, 200*time.Millisecond), b)
		w.strike(Lag, cut-100*time.Millisecond, 3*time.Second, b)
	})
}

// behind has an owner be given up that is heard again just then, by a grantor
// that learns of it late. The owner need not wait for copies.
func behind(w *world) {
	w.Mode = bucket.Async
	w.after(w.between(0, time.Second), func() {
		leader, a, b := w.cast()
		if a == nil {
			return
		}
		b.adoptsLate = true // or it would not know the map for milliseconds only
		cut := w.between(time.Second, 1500*time.Millisecond)
		w.strike(Lag, 0, w.between(1100*time.Millisecond, 3200*time.Millisecond), b)
		w.strike(Split, time.Millisecond, cut, a)
		w.strike(Link, cut-time.Millisecond, 5*time.Second, a, leader)
		w.strike(Split, cut+w.between(200*time.Millisecond, 1800*time.Millisecond), 4*time.Second, a)
	})
}

// alone has an owner die while one of its successors does not hear it.
func alone(w *world) {
	w.after(w.between(0, 3*time.Second), func() {
		leader, a, b := w.cast()
		if a == nil {
			return
		}
		if w.rng.IntN(2) == 0 {
			b = leader
		}
		w.strike(Link, 0, w.between(time.Second, 3*time.Second), a, b)
		w.strike(Kill, w.between(500*time.Millisecond, 2*time.Second), 5*time.Second, a)
	})
}

// lossy has a network that loses much for long.
func lossy(w *world) {
	w.strike(Slow, 0, 12*time.Second, w.nodes[0])
	w.after(0, func() { w.loss = 0.2 })
}

// handed has partitions handed over to a node that joins, on a network that loses
// confirmations, and kills that node: the former owners take over, and may have kept
// their reservations.
func handed(w *world) {
	joins := w.between(time.Second, 2*time.Second)
	w.strike(Slow, joins-time.Millisecond, 3*time.Second, w.nodes[0])
	w.after(joins, func() { w.loss = 0.2 })
	w.strike(Join, joins, time.Second, w.nodes[0])
	w.after(joins+w.between(time.Second, 3*time.Second), func() {
		if last := w.nodes[len(w.nodes)-1]; last.alive {
			w.strike(Kill, 0, 5*time.Second, last)
		}
	})
}
