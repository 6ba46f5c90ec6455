package ledger

import (
	"container/heap"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
)

const shards = 4096

// accounts are the accounts by id. One goroutine at a time stores, freezes or
// removes; any may read at any time.
type accounts [shards]shard

type shard struct {
	mu sync.RWMutex
	m  map[string]*Account // guarded by mu; never written while shared
	// shared: a frozen state holds m too, and the next change must copy it.
	// Guarded by mu.
	shared bool
}

func newAccounts() *accounts {
	a := &accounts{}
	for i := range a {
		a[i].m = map[string]*Account{}
	}
	return a
}

func (a *accounts) shard(id string) *shard { return &a[xxhash.Sum64String(id)%shards] }

func (a *accounts) get(id string) *Account {
	s := a.shard(id)
	s.mu.RLock()
	k := s.m[id]
	s.mu.RUnlock()
	return k
}

func (a *accounts) put(k *Account) {
	s := a.shard(k.ID)
	s.mu.Lock()
	s.ownLocked()
	s.m[k.ID] = k
	s.mu.Unlock()
}

func (a *accounts) remove(id string) {
	s := a.shard(id)
	s.mu.Lock()
	s.ownLocked()
	delete(s.m, id)
	s.mu.Unlock()
}

func (s *shard) ownLocked() {
	if s.shared {
		s.m, s.shared = maps.Clone(s.m), false
	}
}

// freeze returns the maps as they stand; from now on they change no more.
func (a *accounts) freeze() []map[string]*Account {
	out := make([]map[string]*Account, shards)
	for i := range a {
		s := &a[i]
		s.mu.Lock()
		s.shared = true
		out[i] = s.m
		s.mu.Unlock()
	}
	return out
}

// Query selects accounts for List.
type Query struct {
	After string // ids above it in byte order
	Tier  int    // level; below 0: any
	Limit int
}

// List returns the first accounts that a query selects, in byte order of their
// ids. It looks at every account.
func (s *State) List(q Query) []*Account {
	t := s.Table()
	var top largest
	for i := range s.accounts {
		sh := &s.accounts[i]
		sh.mu.RLock()
		for id, a := range sh.m {
			full := len(top) == q.Limit
			if id <= q.After || (full && id >= top[0].ID) || (q.Tier >= 0 && t.Level(a) != q.Tier) {
				continue
			}
			if full {
				heap.Pop(&top)
			}
			heap.Push(&top, a)
		}
		sh.mu.RUnlock()
	}
	slices.SortFunc(top, func(a, b *Account) int { return strings.Compare(a.ID, b.ID) })
	return top
}

// largest is a heap with the largest id on top.
type largest []*Account

func (h largest) Len() int           { return len(h) }
func (h largest) Less(i, j int) bool { return h[i].ID > h[j].ID }
func (h largest) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is heap.Interface.
func (h *largest) Push(x any) { *h = append(*h, x.(*Account)) }

// Pop is heap.Interface.
func (h *largest) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
