package placement

import (
	"maps"
	"slices"
	"time"

	"quorate/fsm/ledger"
)

// Leader is what the leader remembers from one decision to the next. Its methods
// must not overlap.
type Leader struct {
	leading       bool
	since         time.Duration // when this node began to lead
	takeover      *TakeoverWait
	leasesExpired bool                     // no lease on what the map took away can be valid
	removals      map[string]time.Duration // when this leader first saw each removal under way
	reported      map[string]uint64        // by node, the boot that TooOld has returned
}

// NewLeader returns a Leader that does not lead yet.
func NewLeader() *Leader { return &Leader{reported: map[string]uint64{}} }

// Begin notes that this node leads since now, unless it did before, which
// Begin reports.
func (l *Leader) Begin(now time.Duration) (began bool) {
	if l.leading {
		return false
	}
	l.leading, l.since, l.removals = true, now, map[string]time.Duration{}
	return true
}

// End notes that this node does not lead. It reports whether it did before.
func (l *Leader) End() (ended bool) {
	ended = l.leading
	l.leading, l.takeover, l.leasesExpired, l.removals = false, nil, false, nil
	return ended
}

// Decide returns the next change.
func (l *Leader) Decide(v *View) Action {
	l.observe(v)
	return l.decide(v)
}

// TooOld returns the nodes that may not join because their program is older than
// the commands in force, each boot of a node once.
func (l *Leader) TooOld(v *View) (ids []string) {
	for _, id := range slices.Sorted(maps.Keys(v.Nodes)) {
		n := v.Nodes[id]
		if n.Alive && v.heard(id) && n.Knows != 0 && v.tooOld(id) && v.server(id) == nil && l.reported[id] != n.Boot {
			l.reported[id] = n.Boot
			ids = append(ids, id)
		}
	}
	return ids
}

// observe updates what depends on earlier views.
func (l *Leader) observe(v *View) {
	if l.takeover == nil || l.takeover.Epoch() != v.Map.Epoch {
		l.takeover = NewTakeoverWait(v.Map)
	}
	l.leasesExpired = l.takeover.Observe(func(id string) uint64 { return v.Nodes[id].Epoch }, v.Now)
	for _, s := range v.Servers {
		if _, known := l.removals[s.ID]; !known && v.Nodes[s.ID].Removed {
			l.removals[s.ID] = v.Now
		}
	}
}

func (l *Leader) decide(v *View) Action {
	switch {
	case v.ClusterID == "":
		return Action{NameCluster: true}
	case v.TickDue:
		return Action{Tick: true}
	}
	if common := v.commonVersion(); common > v.Version {
		return Action{Raise: common}
	}
	if len(v.Settings) > 0 {
		return Action{Settings: v.Settings}
	}
	if s := v.nextJoin(); s != nil {
		return Action{Join: s}
	}
	if s := l.nextRemoval(v); s != nil {
		return Action{Remove: s}
	}
	return Action{Map: l.nextMap(v)}
}

// commonVersion returns the newest version of commands that every server is
// known to know.
func (v *View) commonVersion() uint64 {
	common := ledger.NewestVersion()
	for _, s := range v.Servers {
		common = min(common, v.Nodes[s.ID].Knows)
	}
	return common
}

// nextJoin returns a living node that Raft does not know, or knows under another
// address.
func (v *View) nextJoin() *Server {
	for _, id := range slices.Sorted(maps.Keys(v.Nodes)) {
		n, s := v.Nodes[id], v.server(id)
		if !n.Alive || !v.heard(id) || n.Removed || n.Peer == "" || v.tooOld(id) || s != nil && s.Address == n.Peer {
			continue
		}
		joins := Server{ID: id, Address: n.Peer} // its vote may come later
		joins.Voter = s != nil && s.Voter
		return &joins
	}
	return nil
}

// nextMap returns the next ownership map, nil if the one in force is right.
func (l *Leader) nextMap(v *View) *ledger.Map {
	ring := ringView{Map: v.Map, leasesExpired: l.leasesExpired, handedOver: v.handedOver()}
	missing := 0
	var grantors []string
	for _, s := range v.Servers {
		n := v.Nodes[s.ID]
		if s.Voter && len(grantors) < ledger.MaxGrantors && !(n.Removed && v.Removable(s.ID) == nil) {
			grantors = append(grantors, s.ID)
		}
		c := candidate{Member: ledger.Member{ID: s.ID, Boot: n.Boot}, lost: n.Boot == 0 || !v.reachable(s.ID), leaving: n.leaves()}
		c.unready = !v.ready(s.ID) && v.Map.Boot(s.ID) != n.Boot
		if c.lost && v.recentlyIsolated() {
			return nil
		}
		if c.lost || c.unready {
			missing++
		}
		ring.candidates = append(ring.candidates, c)
	}
	slices.Sort(grantors)
	if missing == len(ring.candidates) || v.Map.Epoch == 0 && missing > 0 && v.Now-l.since < v.Timing.FormationWait {
		return nil // a first map that lacks a node would have to move much
	}
	next, changed := nextRing(ring, v.Partitions)
	m := &ledger.Map{
		Epoch: v.Map.Epoch + 1, Members: next.Members, Places: next.Places, Moving: next.Moving,
		Grantors: v.Map.Grantors, Retiring: v.Map.Retiring, Lease: v.Timing.OwnerLease, Drift: v.Timing.drift(),
	}
	switch {
	case len(m.Retiring) > 0 && l.leasesExpired:
		m.Retiring, changed = nil, true
	case len(m.Retiring) == 0 && !slices.Equal(m.Grantors, grantors):
		m.Grantors, m.Retiring, changed = grantors, m.Grantors, true
	}
	if !changed {
		return nil
	}
	return m
}

// handedOver returns, by partition, whether it was handed over by the map in
// force, nil if none was.
func (v *View) handedOver() []bool {
	var out []bool
	for _, n := range v.Nodes {
		if n.ImportedEpoch != v.Map.Epoch || len(n.Imported) == 0 {
			continue
		}
		if out == nil {
			out = make([]bool, v.Partitions)
		}
		for p := range out {
			out[p] = out[p] || p/8 < len(n.Imported) && n.Imported[p/8]>>(p%8)&1 == 1
		}
	}
	return out
}
