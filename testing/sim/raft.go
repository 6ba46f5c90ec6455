package sim

import (
	"slices"
	"time"

	"quorate/cluster/lease"
	"quorate/cluster/ring"
	"quorate/fsm/ledger"
)

// leader is a node while it leads: what it has gathered since.
type leader struct {
	n     *node
	since time.Duration
	over  *lease.Handover
}

// voters are the first three nodes, as in the product, until a fault has it
// otherwise.
func (w *world) voters() []*node {
	if w.electors == nil {
		w.electors = slices.Clone(w.nodes[:min(3, len(w.nodes))])
	}
	return w.electors
}

// vote makes one node a voter in the place of another, one step of Raft's, if
// the new one has the log.
func (w *world) vote(old, now *node) {
	i := slices.Index(w.voters(), old)
	if w.leader == nil || w.leader.n == old || i < 0 || slices.Contains(w.voters(), now) || !w.running(now) || now.stored < len(w.log)-1 {
		return
	}
	w.electors[i] = now
	w.logf("%s votes instead of %s", now.id, old.id)
}

// reaches reports whether a node can talk with a majority of the voters, itself
// one of them.
func (w *world) reaches(n *node) bool {
	have := 0
	for _, v := range w.voters() {
		if w.running(v) && w.linked(n, v) {
			have++
		}
	}
	return w.running(n) && have >= len(w.voters())/2+1
}

// elect sees to it that a node leads that can, some time after the last one
// could not any more.
func (w *world) elect() {
	if w.leader != nil && w.reaches(w.leader.n) {
		return
	}
	if w.leader != nil {
		w.logf("%s leads no more", w.leader.n.id)
		w.leader = nil
	}
	var can []*node
	for _, v := range w.voters() {
		// Whoever is elected has every entry that was committed.
		if w.reaches(v) && v.stored == len(w.log)-1 {
			can = append(can, v)
		}
	}
	if len(can) > 0 && w.rng.IntN(12) == 0 { // a second or so in all
		n := can[w.rng.IntN(len(can))]
		w.leader = &leader{n: n, since: w.now}
		w.logf("%s leads", n.id)
		w.spread()
	}
}

// spread has every node that the leader reaches learn of what is committed.
func (w *world) spread() {
	if w.leader == nil {
		return
	}
	from := w.leader.n
	for _, to := range w.nodes {
		to := to
		if to == from {
			from.after(0, func() { from.learn(len(w.log) - 1) })
			continue
		}
		if to.alive && w.linked(from, to) && to.applied < len(w.log)-1 {
			upto := len(w.log) - 1
			w.send(from, to, func() {
				to.stored = max(to.stored, upto)
				to.after(to.lag, func() {
					if to.lag > 0 && to.stored > upto { // it comes in one piece
						to.learn(to.stored)
						return
					}
					to.learn(upto)
				})
			})
		}
	}
}

// propose commits a map if the leader still is one and its map is the next. A
// majority has it on disk from then on.
func (w *world) propose(l *leader, t *ledger.Map) {
	w.after(2*time.Millisecond, func() {
		if w.leader != l || !w.reaches(l.n) || t.Epoch != uint64(len(w.log)) {
			return
		}
		w.log = append(w.log, t)
		for _, v := range w.voters() {
			if w.running(v) && w.linked(l.n, v) {
				v.stored = len(w.log) - 1
			}
		}
		w.logf("epoch %d: %v", t.Epoch, describe(t))
		w.spread()
	})
}

func describe(t *ledger.Map) (out []string) {
	name := func(at uint16) string {
		if at == ledger.Nobody {
			return "-"
		}
		return t.Members[at].ID
	}
	for p, place := range t.Places {
		s := name(place[0]) + ">" + name(place[1]) + ">" + name(place[2])
		if p < len(t.Moving) && t.Moving[p] {
			s += "*"
		}
		out = append(out, s)
	}
	return out
}

// vouched reports whether a voter that the leader reaches still reaches a node
// that the leader does not.
func (l *leader) vouched(m *node) bool {
	for _, v := range l.n.w.voters() {
		if v != l.n && v != m && l.n.Reachable(v.id) && len(l.n.reaches[v.index]) > 0 && l.n.reaches[v.index][m.index] {
			return true
		}
	}
	return false
}

// lead is one round of the leader's: gather, decide, apply one change.
func (w *world) lead() {
	l := w.leader
	if l == nil || !w.running(l.n) || l.n.applied < len(w.log)-1 {
		return
	}
	was := w.log[l.n.applied]
	if l.over == nil || l.over.Epoch() != was.Epoch {
		l.over = lease.NewHandover(terms(was))
	}
	applied := map[string]uint64{l.n.id: uint64(l.n.applied)}
	v := ring.View{Table: tableOf(was), Released: make([]bool, Parts)}
	missing := 0
	for _, m := range w.nodes {
		if !m.member {
			continue
		}
		h := l.n.heard[m.index]
		if m == l.n {
			h = health{boot: m.boot, ready: m.ready(), epoch: uint64(m.applied), at: w.now, holds: m.holding()}
		}
		node := ring.Node{Life: ring.Life{ID: m.id, Boot: h.boot}, Leaving: m.leaving}
		node.Lost = h.boot == 0 || w.now-h.at > lostAfter && !l.vouched(m)
		named := slices.Contains(was.Members, ledger.Member(node.Life))
		node.Unfit = !h.ready && !named
		if node.Lost || node.Unfit {
			missing++
		}
		v.Nodes = append(v.Nodes, node)
		applied[m.id] = h.epoch
		if h.epoch == was.Epoch {
			for p := range h.holds {
				v.Released[p] = v.Released[p] || h.holds[p]
			}
		}
	}
	if was.Epoch == 0 && missing > 0 {
		return
	}
	if w.Without == Drain {
		for id := range applied {
			applied[id] = was.Epoch
		}
	}
	v.Passed = l.over.Observe(applied, w.now)
	table, changed := ring.Next(v, Parts)
	next := mapOf(table)
	next.Epoch, next.Lease, next.Drift = was.Epoch+1, leaseLength, leaseDrift
	next.Grantors, next.Retiring = was.Grantors, was.Retiring
	if w.Without == Drain {
		next.Drift = 0
	}
	var grantors []string
	for _, m := range w.voters() {
		grantors = append(grantors, m.id)
	}
	switch {
	case len(next.Retiring) > 0 && v.Passed:
		next.Retiring, changed = nil, true
	case len(next.Retiring) == 0 && !slices.Equal(next.Grantors, grantors):
		next.Grantors, next.Retiring, changed = grantors, next.Grantors, true
	}
	if changed {
		w.propose(l, next)
	}
}

func tableOf(m *ledger.Map) ring.Table {
	t := ring.Table{Places: m.Places, Moving: m.Moving}
	for _, k := range m.Members {
		t.Members = append(t.Members, ring.Life(k))
	}
	return t
}

func mapOf(t ring.Table) *ledger.Map {
	m := &ledger.Map{Places: t.Places, Moving: t.Moving}
	for _, k := range t.Members {
		m.Members = append(m.Members, ledger.Member(k))
	}
	return m
}
