package ownership

import "quorate/fsm/ledger"

// View is a map as one boot of one node sees it: the roles of the node's earlier boots are
// empty. It must not be changed.
type View struct {
	Epoch uint64
	Nodes int64             // members
	Parts []Part            // by partition
	Boots map[string]uint64 // of the members, by id
}

// Part names the holders of one partition: its owner and the two successors
// that keep copies. An id is empty if there is no holder.
type Part struct {
	Holders [3]string
	Moving  bool // the owner hands it over to the first successor
}

// NewView returns the map as the boot self sees it.
func NewView(m *ledger.Map, self ledger.Member) *View {
	v := &View{Epoch: m.Epoch, Nodes: int64(len(m.Members)), Parts: make([]Part, len(m.Places)), Boots: make(map[string]uint64, len(m.Members))}
	for _, k := range m.Members {
		v.Boots[k.ID] = k.Boot
	}
	for p, place := range m.Places {
		part := &v.Parts[p]
		part.Moving = p < len(m.Moving) && m.Moving[p]
		for role, at := range place {
			if int(at) >= len(m.Members) {
				continue
			}
			if k := m.Members[at]; k.ID != self.ID || k == self {
				part.Holders[role] = k.ID
			}
		}
	}
	return v
}

// Owns reports whether the boot owns a partition by the map, or a partition moves to it.
func Owns(m *ledger.Map, self ledger.Member) bool {
	v := NewView(m, self)
	for p := range v.Parts {
		if v.owns(p, self.ID) {
			return true
		}
	}
	return false
}

// owns reports whether a node owns a partition, or the partition moves to it.
func (v *View) owns(p int, self string) bool {
	part := &v.Parts[p]
	return part.Holders[0] == self || part.Moving && part.Holders[1] == self
}
