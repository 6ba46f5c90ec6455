package ledger

import (
	"container/heap"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// shards is how many parts the accounts are in: so many that a part is small,
// because the first change of it after a freeze copies it, and so few that a
// freeze looks at all of them in tens of microseconds.
const shards = 1 << 15

// accounts are the accounts by id. One goroutine at a time stores, removes or
// freezes; any may read at any time and waits for nobody.
type accounts struct {
	gen    uint32 // rises with each freeze; of the writer
	shards [shards]shard
}

type shard struct {
	gen  uint32 // freeze since which list is the writer's own; of the writer
	list atomic.Pointer[[]slot]
}

// slot holds an account. The hash is its id's and never changes while the slot
// can be seen.
type slot struct {
	hash uint64
	a    atomic.Pointer[Account]
}

// frozen are the shards as they stood.
type frozen [shards]*[]slot

func newAccounts() *accounts { return &accounts{} }

func (a *accounts) get(id string) *Account {
	hash := xxhash.Sum64String(id)
	if at := find(a.shards[hash%shards].slots(), hash, id); at != nil {
		return at.a.Load()
	}
	return nil
}

func (s *shard) slots() []slot {
	if list := s.list.Load(); list != nil {
		return *list
	}
	return nil
}

func find(list []slot, hash uint64, id string) *slot {
	for i := range list {
		if s := &list[i]; s.hash == hash && s.a.Load().ID == id {
			return s
		}
	}
	return nil
}

func (a *accounts) put(k *Account) {
	hash := xxhash.Sum64String(k.ID)
	s := &a.shards[hash%shards]
	list := s.slots()
	if s.gen != a.gen {
		list = a.copyList(s, list, 1)
	}
	if at := find(list, hash, k.ID); at != nil {
		at.a.Store(k)
		return
	}
	if len(list) == cap(list) {
		list = a.copyList(s, list, 1+len(list)/4)
	}
	// Who reads now has the shorter list and does not look behind its end.
	list = list[:len(list)+1]
	last := &list[len(list)-1]
	last.hash = hash
	last.a.Store(k)
	s.list.Store(&list)
}

func (a *accounts) remove(id string) {
	hash := xxhash.Sum64String(id)
	s := &a.shards[hash%shards]
	var left []slot
	for i, list := 0, s.slots(); i < len(list); i++ {
		if k := list[i].a.Load(); k.ID != id {
			left = append(left, slot{hash: list[i].hash})
			left[len(left)-1].a.Store(k)
		}
	}
	s.gen = a.gen
	s.list.Store(&left)
}

// copyList gives a shard a list of its own, with room for more, and returns it.
func (a *accounts) copyList(s *shard, list []slot, room int) []slot {
	own := make([]slot, len(list), len(list)+room)
	for i := range list {
		own[i].hash = list[i].hash
		own[i].a.Store(list[i].a.Load())
	}
	s.gen = a.gen
	s.list.Store(&own)
	return own
}

// freeze returns the shards as they stand; from now on those lists change no
// more.
func (a *accounts) freeze() *frozen {
	a.gen++
	out := new(frozen)
	for i := range out {
		out[i] = a.shards[i].list.Load()
	}
	return out
}

// sorted returns a shard's accounts in the order of their ids, in the memory of
// into.
func (f *frozen) sorted(i int, into []*Account) []*Account {
	into = into[:0]
	if f[i] == nil {
		return into
	}
	for j := range *f[i] {
		into = append(into, (*f[i])[j].a.Load())
	}
	slices.SortFunc(into, func(a, b *Account) int { return strings.Compare(a.ID, b.ID) })
	return into
}

func (f *frozen) len() (n int) {
	for _, list := range f {
		if list != nil {
			n += len(*list)
		}
	}
	return n
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
	all := s.accounts.Load()
	for i := range all.shards {
		list := all.shards[i].slots()
		for j := range list {
			a := list[j].a.Load()
			full := len(top) == q.Limit
			if a.ID <= q.After || (full && a.ID >= top[0].ID) || (q.Tier >= 0 && t.Level(a) != q.Tier) {
				continue
			}
			if full {
				heap.Pop(&top)
			}
			heap.Push(&top, a)
		}
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
