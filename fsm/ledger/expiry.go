package ledger

import "container/heap"

// maxExpired is the maximum number of accounts whose expired overrides one command
// removes.
const maxExpired = 1000

// expiry is the time at which the next override of an account expires.
type expiry struct {
	at int64
	id string
}

// expiries is a heap with one expiry for each account that has overrides with an expiry.
// The earliest is on top; equal times are ordered by account id.
//
// The content is a function of the accounts alone. If the heap also kept expiries of
// overrides that were replaced, a replica that started from a snapshot would lack them,
// and would expire the overrides of other accounts than the rest when more than
// maxExpired are due.
type expiries struct {
	heap []expiry
	pos  map[string]int // index in heap, by account id
}

func newExpiries() expiries { return expiries{pos: map[string]int{}} }

// Len implements heap.Interface.
func (h *expiries) Len() int { return len(h.heap) }

// Less implements heap.Interface.
func (h *expiries) Less(i, j int) bool {
	a, b := &h.heap[i], &h.heap[j]
	return a.at < b.at || a.at == b.at && a.id < b.id
}

// Swap implements heap.Interface.
func (h *expiries) Swap(i, j int) {
	h.heap[i], h.heap[j] = h.heap[j], h.heap[i]
	h.pos[h.heap[i].id], h.pos[h.heap[j].id] = i, j
}

// Push implements heap.Interface.
func (h *expiries) Push(x any) {
	e := x.(expiry)
	h.pos[e.id] = len(h.heap)
	h.heap = append(h.heap, e)
}

// Pop implements heap.Interface.
func (h *expiries) Pop() any {
	last := h.heap[len(h.heap)-1]
	h.heap[len(h.heap)-1] = expiry{} // release the id
	h.heap = h.heap[:len(h.heap)-1]
	delete(h.pos, last.id)
	return last
}

// watch sets the expiry of an account to that of its overrides.
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

// firstExpiry returns the earliest expiry of the overrides, 0 if none expires.
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

// expireLocked removes expired overrides, of at most maxExpired accounts, and returns the
// ids of these accounts.
func (s *State) expireLocked() (ids []string) {
	for len(ids) < maxExpired && len(s.expiries.heap) > 0 && s.expiries.heap[0].at <= s.now {
		id := s.expiries.heap[0].id
		next := *s.accounts.Load().get(id) // never nil: deleting an account also removes its expiry
		next.Overrides = next.Overrides.without(s.now)
		s.accounts.Load().put(&next)
		s.expiries.watch(id, next.Overrides)
		ids = append(ids, id)
	}
	return ids
}

// NextExpiry returns the log's time at which the next override expires, in milliseconds
// since 1970; 0 if none expires.
func (s *State) NextExpiry() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.expiries.heap) == 0 {
		return 0
	}
	return s.expiries.heap[0].at
}
