package sim

import (
	"fmt"
	"slices"
	"time"

	"quorate/fsm/ledger"
	"quorate/limiter"
	"quorate/limiter/bucket"
)

// Broken is what must never be so, whatever the faults.
type Broken struct {
	At   time.Duration
	What string
}

func (b *Broken) Error() string { return fmt.Sprintf("at %.3fs %s", b.At.Seconds(), b.What) }

func (w *world) breaks(format string, args ...any) {
	if w.broken == nil {
		w.broken = &Broken{w.now, fmt.Sprintf(format, args...)}
		w.logf("BROKEN: %v", w.broken)
	}
}

// claim is by whom a partition was decided last, and since which epoch that boot
// of his has owned it without a break.
type claim struct {
	epoch int
	node  *node
}

// claimed checks that one owner at a time admits: every admission is by a boot
// that the maps name, and none by an earlier owner than the last one's.
func (w *world) claimed(n *node, p int) {
	now := claim{node: n}
	for e := int(n.ownership.Epoch()); e > 0 && names(w.log[e], n, p); e-- {
		now.epoch = e
		// What it had handed over comes back: that is another claim.
		if role(w.log[e], n, p) == 1 && role(w.log[e-1], n, p) == 0 {
			break
		}
	}
	last := w.claims[p]
	switch {
	case now.epoch == 0:
		w.breaks("%s, boot %d, admits of %d in epoch %d, which does not name it", n.id, n.boot, p, n.ownership.Epoch())
	case now.epoch < last.epoch:
		w.breaks("%s admits of %d, its own since epoch %d, after %s did, whose it is since epoch %d", n.id, p, now.epoch, last.node.id, last.epoch)
	}
	w.claims[p] = now
}

// names reports whether a map has this boot of a node decide on a partition,
// now or when it is handed over.
func names(t *ledger.Map, n *node, p int) bool { return role(t, n, p) >= 0 }

// role is 0 for who decides on a partition by a map, 1 for whom it is handed over to,
// else -1.
func role(t *ledger.Map, n *node, p int) int {
	if p >= len(t.Places) {
		return -1
	}
	for at, k := range t.Places[p][:2] {
		if k != ledger.NoMember && t.Members[k] == (ledger.Member{ID: n.id, Boot: n.boot}) && (at == 0 || p < len(t.Moving) && t.Moving[p]) {
			return at
		}
	}
	return -1
}

// look checks what every owner believes of its copies, and notes whether the
// cluster has settled.
func (w *world) look() {
	for _, n := range w.nodes {
		if w.running(n) && n.ready() {
			w.believed(n)
		}
	}
	w.isolated()
	w.given()
	settled := w.settled()
	switch {
	case !settled && len(w.unsettled) == 0, !settled && w.unsettled[len(w.unsettled)-1].over:
		w.unsettled = append(w.unsettled, span{from: w.now})
	case settled && len(w.unsettled) > 0:
		w.unsettled[len(w.unsettled)-1].over = true
	}
	if !settled {
		w.unsettled[len(w.unsettled)-1].to = w.now
	}
}

// isolated makes a fault of its own of a node that no majority reaches, though no
// single fault cuts it off: then others together do.
func (w *world) isolated() {
	for _, n := range w.nodes {
		f := w.alone[n]
		if !w.running(n) || w.reaches(n) || w.split(n.index) {
			if f != nil {
				f.Heal = w.now
				delete(w.alone, n)
			}
			continue
		}
		if f == nil {
			f = &Fault{Kind: Split, Nodes: []int{n.index}, Start: w.now - lookEvery}
			for _, b := range w.buckets {
				f.owners = append(f.owners, w.ownerOf(b))
			}
			w.alone[n] = f
			w.faults = append(w.faults, f)
		}
		f.Heal = w.now
	}
}

// given notes which buckets are given to nodes that a fault has struck, before
// anybody knows of it.
func (w *world) given() {
	last := w.log[len(w.log)-1]
	for _, f := range w.faults {
		if f.owners == nil || w.now > f.Heal {
			continue
		}
		for i, b := range w.buckets {
			p := partition(b.account)
			if p < len(last.Moving) && last.Moving[p] && slices.Contains(f.Nodes, w.byID[last.Members[last.Places[p][1]].ID].index) {
				if f.moved == nil {
					f.moved = make([]bool, len(w.buckets))
				}
				f.moved[i] = true
			}
		}
	}
}

// split reports whether a single fault cuts a node off now.
func (w *world) split(node int) bool {
	return slices.ContainsFunc(w.faults, func(f *Fault) bool {
		return (f.Kind == Split || f.Kind == OneWay) && f.Start <= w.now && w.now < f.Heal && slices.Contains(f.Nodes, node) && f != w.alone[w.nodes[node]]
	})
}

// span is a time in which the cluster had not settled.
type span struct {
	from, to time.Duration
	over     bool
}

// over returns when the cluster had settled after an instant.
func (w *world) over(at time.Duration) time.Duration {
	for _, s := range w.unsettled {
		if s.from <= at+2*lookEvery && s.to >= at {
			return s.to + lookEvery
		}
	}
	return at
}

// used returns the units of a bucket that a node knows of, as they will count in a while.
func used(k *limiter.BucketSnapshot, in time.Duration) int64 {
	if k.Sliding != nil {
		return k.Sliding.Use(k.ID.Limit(), in)
	}
	return k.State.Units
}

// apart is how much later the last of two nodes lets go of a unit of a sliding window
// than the first: their clocks differ.
func apart(window time.Duration) time.Duration {
	return time.Duration(float64(window) * 2 * (fast - 1))
}

// believed checks that each copy holds at least what its owner goes by.
func (w *world) believed(n *node) {
	for p := range Parts {
		if !n.ownership.Held().Valid(p, n.clock()) {
			continue
		}
		at := map[string]map[bucket.ID]int64{}
		n.local.LowerBounds(p, apart, func(id bucket.ID, name string, least bucket.State) {
			to := w.byID[name]
			if least.Idle() || !to.alive || !slices.Contains(n.ownership.Map().Members, ledger.Member{ID: to.id, Boot: to.boot}) {
				return // what was lost with an earlier boot is its own fault
			}
			if at[name] == nil {
				at[name] = map[bucket.ID]int64{}
				for _, k := range to.local.ExportBuckets(p) {
					at[name][k.ID] = used(&k, 0)
				}
			}
			// Clocks differ, and what is on its way lacks what came back meanwhile.
			more := 1 + int64(0.06*float64(max(least.Rate, least.Units)))
			if id.Algorithm == bucket.SlidingWindow {
				more = 0
			}
			if has := at[name][id]; has+more < least.Units {
				w.breaks("%s goes by %d units of %s at %s, which has %d", n.id, least.Units, id.Account, name, has)
			}
		})
	}
}

// settled reports whether nothing is under way: no fault lasts, every partition
// is decided on by who owns it, with whole copies, and what fallback nodes admitted has
// been absorbed.
func (w *world) settled() bool {
	if w.leader == nil || w.loss > 0 || w.delay > 0 || w.cuts > 0 {
		return false
	}
	last := w.log[len(w.log)-1]
	for p, place := range last.Places {
		if place[0] == ledger.NoMember || p < len(last.Moving) && last.Moving[p] {
			return false
		}
		m := last.Members[place[0]]
		n := w.byID[m.ID]
		if !n.alive || n.boot != m.Boot || !n.ownership.Held().Valid(p, n.clock()) {
			return false
		}
	}
	for _, n := range w.nodes {
		if n.alive && n.member && !w.rests(n, last) {
			return false
		}
	}
	return len(last.Places) > 0
}

// rests reports whether a node has nothing to do.
func (w *world) rests(n *node, last *ledger.Map) bool {
	if n.paused > w.now || n.leaving || !n.ready() || n.ownership.Epoch() != last.Epoch || len(n.local.FallbackUsages()) > 0 {
		return false
	}
	d := n.local.Tasks()
	for id := range d.Copy {
		if w.byID[id].alive {
			return false
		}
	}
	return len(d.Fetch) == 0 && len(d.Handoff) == 0
}
