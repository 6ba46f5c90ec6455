package ledger

import "slices"

// MaxRemoved is the maximum number of removed nodes that are remembered; the oldest are
// forgotten.
const MaxRemoved = 1024

// applyRemoveLocked records that a node is removed. Its id can never join the cluster
// again.
func (s *State) applyRemoveLocked(id string) {
	if slices.Contains(s.removed, id) {
		return
	}
	// Make a new list: a snapshot that is being written uses the old one.
	kept := s.removed[max(0, len(s.removed)+1-MaxRemoved):]
	s.removed = append(slices.Clone(kept), id)
}

// Removed reports whether an operator removed the node.
func (s *State) Removed(id string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Contains(s.removed, id)
}
