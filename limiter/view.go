package limiter

import (
	"slices"
	"time"

	"quorate/limiter/replica"
)

// Part names the holders of one partition: its owner and the two successors that keep
// copies. A holder is empty where there is none.
type Part struct {
	Holders [3]string
	Moving  bool // the owner hands it off to the first successor
}

// copies returns the nodes that keep copies of what a node owns of the partition, in
// order: all other holders. While the partition moves they include its former owner.
func (p *Part) copies(node string) (ids [replica.Copies]string) {
	n := 0
	for _, id := range p.Holders {
		if id != "" && id != node && n < len(ids) {
			ids[n] = id
			n++
		}
	}
	return ids
}

// View is an ownership map as the limiter sees it. It must not be changed.
type View struct {
	Epoch uint64
	Nodes int64 // members
	Parts []Part
	Boots map[string]uint64 // of the members, by id
}

// Leases reports what this boot of this node holds, by the clock of the buckets. It is
// called at every check; calls may overlap.
type Leases interface {
	// Valid reports whether the partition is held at the instant now. It must not
	// block: it is called with a lock held.
	Valid(partition int, now time.Duration) bool
	// Majority reports whether this node reaches a majority. It may block.
	Majority() bool
}

// role is this node's part in a partition.
type role uint8

const (
	remote     role = iota // another node owns it
	recovering             // this node owns it, and is fetching what the others know
	owner                  // this node decides while its lease is valid
	importing              // it moves here, and its owner has not handed it off yet
	exporting              // it moves away, and this node no longer decides
)

// Tasks lists the outstanding work that the map in force gives this node: the
// partitions of each kind, by the other node.
type Tasks struct {
	Epoch   uint64
	Fetch   map[string][]int // this node recovers, and the other may know something; "": no other does
	Handoff map[string][]int // they move to the other node
	Copy    map[string][]int // the other has no whole copy of them
}

// Adopt replaces the map and reports whether the new one is later.
func (l *Local) Adopt(v *View) bool {
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	was := l.view.Load()
	if was != nil && v.Epoch <= was.Epoch {
		return false
	}
	next := &localView{View: v, roles: make([]role, len(v.Parts)), since: make([]replica.OriginEpoch, len(v.Parts)), began: make([]time.Duration, len(v.Parts)), former: make([]Part, len(v.Parts)), incomplete: make([]uint8, len(v.Parts))}
	for p := range v.Parts {
		before, had, since := was.part(p)
		if !l.stateCurrent(was, v, p) {
			had = remote
		}
		now := nextRole(l.node, had, v.Parts[p])
		next.roles[p], next.since[p], next.began[p] = now, since, was.roleBegan(p)
		if now != had {
			next.began[p] = l.now()
		}
		if next.incomplete[p] = allIncomplete; had == owner {
			next.incomplete[p] = next.incompleteCopies(l.node, was, p)
		}
		switch {
		case now == had && had == recovering:
			next.former[p] = was.former[p]
		case now != had:
			next.former[p] = before
			next.since[p] = replica.NewOriginEpoch(v.Epoch, now == importing)
		}
	}
	l.view.Store(next)
	l.forgetAcks(was, next)
	l.dropExported(was, next)
	l.signalRoleChange()
	return true
}

// stateCurrent reports whether no other node can have decided on a partition since
// this node did under the map before. That is so if the new map is the next one. It is
// also so if the lease under the map before is valid: then no other node can have
// owned the partition since. Otherwise another node may have owned the partition and
// lost it again, under maps that this node has not seen, and what this node knows is
// old.
func (l *Local) stateCurrent(was *localView, v *View, p int) bool {
	return was != nil && (v.Epoch == was.Epoch+1 || l.cfg.Leases.Valid(p, l.now()))
}

// Tasks returns the work that is still outstanding.
func (l *Local) Tasks() Tasks {
	v := l.view.Load()
	d := Tasks{Fetch: map[string][]int{}, Handoff: map[string][]int{}, Copy: map[string][]int{}}
	if v == nil {
		return d
	}
	d.Epoch = v.Epoch
	for p, r := range v.roles {
		switch r {
		case recovering:
			ids := otherHolders(l.node, v.Parts[p], v.former[p])
			for _, id := range ids {
				d.Fetch[id] = append(d.Fetch[id], p)
			}
			if len(ids) == 0 {
				d.Fetch[""] = append(d.Fetch[""], p)
			}
		case exporting:
			to := v.Parts[p].Holders[1]
			d.Handoff[to] = append(d.Handoff[to], p)
		case owner:
			if v.movesAway(l.node, p) {
				to := v.Parts[p].Holders[1]
				d.Handoff[to] = append(d.Handoff[to], p)
				continue
			}
			for i, id := range v.Parts[p].copies(l.node) {
				if v.incomplete[p]>>i&1 == 1 && id != "" {
					d.Copy[id] = append(d.Copy[id], p)
				}
			}
		}
	}
	return d
}

// nextRole returns the role of a node in a partition under a new map.
func nextRole(node string, had role, now Part) role {
	switch {
	case now.Moving && now.Holders[0] == node:
		// This node decides until the receiver can.
		if had == owner || had == exporting {
			return had
		}
		return recovering
	case now.Moving && now.Holders[1] == node:
		if had == owner {
			return owner // it was handed off under an earlier map
		}
		return importing
	case now.Holders[0] != node:
		return remote
	case had == owner || had == recovering:
		return had
	}
	return recovering
}

// otherHolders lists the other nodes that may know something of a partition.
func otherHolders(node string, parts ...Part) []string {
	var ids []string
	for _, p := range parts {
		for _, id := range p.Holders {
			if id != "" && id != node && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// localView is a View with this node's roles. It is replaced, never changed.
type localView struct {
	*View
	roles      []role
	since      []replica.OriginEpoch // the order of this owner among all that the partition had
	began      []time.Duration       // when the role began, by this node's clock
	incomplete []uint8               // of what this node owns: a bit for each successor without a whole copy
	former     []Part                // of a partition that this node recovers: its holders before
}

// part returns the holders of a partition, this node's role in it and the origin of
// its usage bounds.
func (s *localView) part(p int) (Part, role, replica.OriginEpoch) {
	if s == nil || p >= len(s.Parts) {
		return Part{}, remote, 0
	}
	return s.Parts[p], s.roles[p], s.since[p]
}

// roleBegan returns when this node's role in a partition began.
func (s *localView) roleBegan(p int) time.Duration {
	if s == nil || p >= len(s.began) {
		return 0
	}
	return s.began[p]
}

// changeRole gives this node the role to in the partitions in which it has the role
// from, if the map of the epoch is in force.
func (l *Local) changeRole(epoch uint64, from, to role, partitions ...int) {
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	was := l.view.Load()
	if was == nil || was.Epoch != epoch || len(partitions) == 0 {
		return
	}
	next := *was
	next.roles, next.began = slices.Clone(was.roles), slices.Clone(was.began)
	now := l.now()
	for _, p := range partitions {
		if p >= len(next.roles) || next.roles[p] != from {
			continue
		}
		next.began[p] = now
		next.roles[p] = to
	}
	l.view.Store(&next)
	l.signalRoleChange()
}

// movesAway reports whether a partition moves away from a node.
func (s *localView) movesAway(node string, p int) bool {
	return s.Parts[p].Moving && s.Parts[p].Holders[0] == node
}

// BeginExport makes this node stop deciding on partitions that move away, for good:
// their receiver can decide. It reports whether the map of the epoch is in force.
func (l *Local) BeginExport(epoch uint64, partitions []int) bool {
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	was := l.view.Load()
	if was == nil || was.Epoch != epoch {
		return false
	}
	next := *was
	next.roles = slices.Clone(was.roles)
	for _, p := range partitions {
		if next.roles[p] == owner && was.movesAway(l.node, p) {
			next.roles[p] = exporting
		}
	}
	l.view.Store(&next)
	return true
}
