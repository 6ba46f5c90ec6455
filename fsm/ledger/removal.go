package ledger

import "slices"

// MaxRemoved is how many removed nodes are remembered; the oldest are forgotten.
const MaxRemoved = 1024

// applyRemoveLocked notes that a node is to leave for good: its id is never
// taken into the cluster again.
func (s *State) applyRemoveLocked(id string) {
	if slices.Contains(s.removed, id) {
		return
	}
	// A new list: a snapshot that is being written holds the one before.
	kept := s.removed[max(0, len(s.removed)+1-MaxRemoved):]
	s.removed = append(slices.Clone(kept), id)
}

// Removed reports whether a node was removed by order.
func (s *State) Removed(id string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Contains(s.removed, id)
}
