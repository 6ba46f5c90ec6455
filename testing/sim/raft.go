package sim

import (
	"slices"
	"time"

	"quorate/cluster/ownership"
	"quorate/cluster/placement"
	"quorate/fsm/ledger"
)

// timing is the product's.
var timing = placement.DefaultTiming()

// leader is a node while it leads, with what its decisions remember.
type leader struct {
	n      *node
	memory *placement.Leader
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
		w.leader = &leader{n: n, memory: placement.NewLeader()}
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

// commit runs f in a while, if the leader still is one then.
func (w *world) commit(l *leader, f func()) {
	w.after(2*time.Millisecond, func() {
		if w.leader == l && w.reaches(l.n) {
			f()
		}
	})
}

// propose commits a map if it is the next one. A majority has it on disk from
// then on.
func (w *world) propose(l *leader, t *ledger.Map) {
	w.commit(l, func() {
		if t.Epoch != uint64(len(w.log)) {
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
		if at == ledger.NoMember {
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

// lead is one round of the leader's loop: it gathers a view, decides, and applies
// one change.
func (w *world) lead() {
	l := w.leader
	if l == nil || !w.running(l.n) {
		return
	}
	l.memory.Begin(l.n.clock())
	v := l.n.view()
	switch a := l.memory.Decide(v); {
	case a.Join != nil:
		n := w.byID[a.Join.ID]
		w.commit(l, func() { n.member = true })
	case a.Map != nil:
		w.propose(l, a.Map)
	}
}

// view returns what a node, as the leader, knows of the cluster.
func (n *node) view() *placement.View {
	w := n.w
	v := &placement.View{
		Now: n.clock(), Self: n.id, ClusterID: "sim", Map: w.log[n.applied], Partitions: Parts, Nodes: map[string]placement.Node{},
		Commit: uint64(len(w.log) - 1), Version: ledger.NewestVersion(), MajorityBeats: n.ownership.MajorityBeats(), Timing: timing,
	}
	for _, m := range w.nodes {
		if m.member {
			v.Servers = append(v.Servers, placement.Server{ID: m.id, Address: m.id, Voter: slices.Contains(w.voters(), m)})
		}
		k, p := placement.Node{Answers: true}, m.answer(ownership.Ping{})
		if m != n {
			heard, _ := n.ownership.Peer(m.id)
			k, p = placement.Node{Silence: n.clock() - heard.Heard, Missed: heard.Missed, Answers: n.Reachable(m.id)}, &heard.Pong
		}
		k.Peer, k.Alive, k.Boot, k.Ready, k.Leaving, k.Reaches = m.id, true, p.Boot, p.Ready, p.Leaving, p.Reaches
		k.Applied, k.Epoch, k.Knows, k.ImportedEpoch, k.Imported = p.AppliedIndex, p.AppliedEpoch, p.CommandVersion, p.Epoch, p.Imported
		v.Nodes[m.id] = k
	}
	return v
}
