package ledger

import "slices"

// RecoveryEpochs is by how much a recovery raises the epoch: more than a cluster
// that was only cut off, and not lost, can have gone on meanwhile.
const RecoveryEpochs = 1_000_000

// Recover takes everything from everybody, for a cluster that goes on without
// most of its nodes: nobody owns a partition, only those that are left grant
// leases, and those that are gone are removed.
func (s *State) Recover(left, gone []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range gone {
		s.applyRemoveLocked(id)
	}
	was := s.Map()
	if was.Epoch == 0 {
		return // there was no owner yet
	}
	m := &Map{Epoch: was.Epoch + RecoveryEpochs, Lease: was.Lease, Drift: was.Drift, Places: make([][3]uint16, Partitions)}
	for p := range m.Places {
		m.Places[p] = [3]uint16{Nobody, Nobody, Nobody}
	}
	m.Grantors = slices.Clone(left[:min(len(left), MaxGrantors)])
	slices.Sort(m.Grantors)
	s.owners.Store(m)
}
