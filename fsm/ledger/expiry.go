package ledger

import "container/heap"

// maxExpired bounds the accounts that one command takes overrides from.
const maxExpired = 1000

// expiry is when an account's next override runs out.
type expiry struct {
	at int64
	id string
}

// expiries is a heap with the earliest on top; those of one instant in the
// order of their ids, so that all replicas take the same.
type expiries []expiry

func (h expiries) Len() int { return len(h) }
func (h expiries) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].id < h[j].id
}
func (h expiries) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is heap.Interface.
func (h *expiries) Push(x any) { *h = append(*h, x.(expiry)) }

// Pop is heap.Interface.
func (h *expiries) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// watch notes when the account's overrides run out.
func (h *expiries) watch(a *Account) {
	if a.Overrides == nil {
		return
	}
	for _, o := range a.Overrides.List {
		if o.ExpiresAt != 0 {
			heap.Push(h, expiry{o.ExpiresAt, a.ID})
		}
	}
}

// expireLocked takes away the overrides that have run out.
func (s *State) expireLocked() {
	for n := 0; n < maxExpired && len(s.expiries) > 0 && s.expiries[0].at <= s.now; n++ {
		due := heap.Pop(&s.expiries).(expiry)
		a := s.accounts.get(due.id)
		if a == nil || a.Overrides == nil {
			continue // replaced or deleted since
		}
		next := *a
		next.Overrides = a.Overrides.without(s.now)
		s.accounts.put(&next)
	}
}

// NextExpiry returns the time of the log at which the next override runs out;
// 0 for none.
func (s *State) NextExpiry() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.expiries) == 0 {
		return 0
	}
	return s.expiries[0].at
}
