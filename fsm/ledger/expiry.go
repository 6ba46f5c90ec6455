package ledger

import "container/heap"

// maxExpired bounds the accounts that one command takes overrides from.
const maxExpired = 1000

// expiry is when the next of an account's overrides runs out.
type expiry struct {
	at int64
	id string
}

// expiries holds one expiry for each account that has any: what is in it
// follows from the accounts alone. Were there more, left over from overrides
// replaced since, a replica that comes from a snapshot would not have those,
// and would take other accounts than the rest when maxExpired cuts.
//
// As a heap it has the earliest on top, those of one instant in the order of
// their ids.
type expiries struct {
	heap []expiry
	pos  map[string]int // in heap, by id
}

func newExpiries() expiries { return expiries{pos: map[string]int{}} }

// Len is heap.Interface, as are Less, Swap, Push and Pop.
func (h *expiries) Len() int { return len(h.heap) }

// Less is heap.Interface.
func (h *expiries) Less(i, j int) bool {
	a, b := &h.heap[i], &h.heap[j]
	return a.at < b.at || a.at == b.at && a.id < b.id
}

// Swap is heap.Interface.
func (h *expiries) Swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.pos[h.heap[i].id], h.pos[h.heap[j].id] = i, j
}

// Push is heap.Interface.
func (h *expiries) Push(x any) {
	e := x.(expiry)
	h.pos[e.id] = len(h.heap)
	h.heap = append(h.heap, e)
}

// Pop is heap.Interface.
func (h *expiries) Pop() any {
	last := h.heap[len(h.heap)-1]
	h.heap[len(h.heap)-1] = expiry{} // lets go of the id
	h.heap = h.heap[:len(h.heap)-1]
	delete(h.pos, last.id)
	return last
}

// watch notes when the next of the account's overrides runs out, if one does.
func (h *expiries) watch(id string, o *Overrides) {
	at := o.firstExpiry()
	i, known := h.pos[id]
	switch {
	case known && at == 0:
		heap.Remove(h, i)
	case known:
		h.heap[i].at = at
		heap.Fix(h, i)
	case at != 0:
		heap.Push(h, expiry{at, id})
	}
}

// firstExpiry returns when the first of the overrides runs out, 0 for never.
func (o *Overrides) firstExpiry() (at int64) {
	if o == nil {
		return 0
	}
	for i := range o.List {
		if e := o.List[i].ExpiresAt; e != 0 && (at == 0 || e < at) {
			at = e
		}
	}
	return at
}

// expireLocked takes away the overrides that have run out and returns the
// accounts that had them.
func (s *State) expireLocked() (ids []string) {
	for len(ids) < maxExpired && len(s.expiries.heap) > 0 && s.expiries.heap[0].at <= s.now {
		id := s.expiries.heap[0].id
		next := *s.accounts.Load().get(id) // whoever is deleted is watched no more
		next.Overrides = next.Overrides.without(s.now)
		s.accounts.Load().put(&next)
		s.expiries.watch(id, next.Overrides)
		ids = append(ids, id)
	}
	return ids
}

// NextExpiry returns the time of the log at which the next override runs out;
// 0 for none.
func (s *State) NextExpiry() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.expiries.heap) == 0 {
		return 0
	}
	return s.expiries.heap[0].at
}
