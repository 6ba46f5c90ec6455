package ledger

import "slices"

// RecoveryEpochs is the number of epochs that a recovery skips: more than the rest of the
// cluster can have used, if it was only cut off and not lost.
const RecoveryEpochs = 1_000_000

// Recover changes the state for a cluster that continues without most of its nodes: no
// node owns a partition, only the nodes in left grant leases, and the nodes in gone are
// removed.
func (s *State) Recover(left, gone []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range gone {
		s.applyRemoveLocked(id)
	}
	was := s.Map()
	if was.Epoch == 0 {
		return // the cluster has had no owners yet
	}
	m := &Map{Epoch: was.Epoch + RecoveryEpochs, Lease: was.Lease, Drift: was.Drift, Places: make([][3]uint16, Partitions)}
	for p := range m.Places {
		m.Places[p] = [3]uint16{NoMember, NoMember, NoMember}
	}
	m.Grantors = slices.Clone(left[:min(len(left), MaxGrantors)])
	slices.Sort(m.Grantors)
	s.owners.Store(m)
}
