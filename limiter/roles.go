package limiter

import "quorate/limiter/bucket"

// This file reads the map in force and the roles of this node in it.

// Imported reports whether this node decides on a partition that moves here, because
// its owner has handed it off.
func (l *Local) Imported(p int) bool {
	v := l.view.Load()
	part, r, _ := v.part(p)
	return r == owner && part.Moving && part.Holders[0] != l.node
}

// RecentOwner reports whether this node became the owner of a partition a moment ago:
// its lease may still be on the way.
func (l *Local) RecentOwner(p int) bool {
	v := l.view.Load()
	_, r, _ := v.part(p)
	return r == owner && l.now()-v.roleBegan(p) < arriveFor
}

// CanImport reports whether this node can decide on partitions as soon as their owner
// has handed them off: it goes by the map of the epoch and holds the leases.
func (l *Local) CanImport(epoch uint64, partitions []int) bool {
	v := l.view.Load()
	if v == nil || v.Epoch != epoch {
		return false
	}
	now := l.now()
	for _, p := range partitions {
		if !l.cfg.Leases.Valid(p, now) {
			return false
		}
	}
	return true
}

// Importing reports whether a partition moves here and has not been handed off yet.
func (l *Local) Importing(p int) bool { return l.role(p) == importing }

// Recovering reports whether this node owns a partition and does not know all of it
// yet.
func (l *Local) Recovering(p int) bool { return l.role(p) == recovering }

func (l *Local) role(p int) role {
	_, r, _ := l.view.Load().part(p)
	return r
}

// signalRoleChange wakes what waits for a role to change.
func (l *Local) signalRoleChange() {
	if changed := l.changed.Swap(nil); changed != nil {
		close(*changed)
	}
}

// RoleChanged returns a channel that is closed at the next change of a role. Roles that
// are read after the call and change later close it.
func (l *Local) RoleChanged() <-chan struct{} {
	for {
		if changed := l.changed.Load(); changed != nil {
			return *changed
		}
		changed := make(chan struct{})
		l.changed.CompareAndSwap(nil, &changed)
	}
}

// idOf returns the id of the bucket of a limit.
func idOf(account string, s *bucket.Scoped) bucket.ID {
	return bucket.ID{Account: account, Scope: s.Scope, Unit: s.Unit, Algorithm: s.Algorithm, Window: s.Window}
}

// Part returns the holders of a partition.
func (l *Local) Part(p int) Part {
	part, _, _ := l.view.Load().part(p)
	return part
}

// unplaced is a partition before any map. It is never changed.
var unplaced Part

// Placement returns the holders of a partition by the map adopted last, and the epoch of
// that map. The Part must not be changed.
func (l *Local) Placement(p int) (*Part, uint64) {
	if v := l.view.Load(); v != nil && p < len(v.Parts) {
		return &v.Parts[p], v.Epoch
	}
	return &unplaced, 0
}

// Epoch returns the epoch of the map in force, 0 before any.
func (l *Local) Epoch() uint64 {
	if v := l.view.Load(); v != nil {
		return v.Epoch
	}
	return 0
}

// Partitions returns how many partitions there are.
func (l *Local) Partitions() int { return len(l.parts) }

// HoldersOf returns the holders of an account's partition.
func (l *Local) HoldersOf(account string) [3]string {
	return l.Part(l.cfg.Partition(account)).Holders
}

// Incomplete counts the partitions of this node that lack a whole copy at a successor
// that they have, or could have.
func (l *Local) Incomplete() (n int) {
	v := l.view.Load()
	if v == nil {
		return 0
	}
	for p, r := range v.roles {
		if r != owner {
			continue
		}
		for i, id := range v.Parts[p].copies(l.node) {
			if id == "" && v.Nodes >= int64(i)+2 || id != "" && v.incomplete[p]>>i&1 == 1 {
				n++
				break
			}
		}
	}
	return n
}

// ImportedSet returns the partitions that were handed off to this node and still move
// by the map, a bit for each; nil: none.
func (l *Local) ImportedSet() []byte {
	v := l.view.Load()
	if v == nil {
		return nil
	}
	var out []byte
	for p := range v.Parts {
		if v.Parts[p].Moving && v.roles[p] == owner && !v.movesAway(l.node, p) {
			if out == nil {
				out = make([]byte, (len(v.Parts)+7)/8)
			}
			out[p/8] |= 1 << (p % 8)
		}
	}
	return out
}
