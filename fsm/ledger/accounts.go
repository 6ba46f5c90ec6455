package ledger

import (
	"container/heap"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// shards is the number of lists of accounts. It is large, so that lists are short: the
// first change of a list after a freeze copies it. It is small enough for a freeze to
// visit all lists in tens of microseconds.
const shards = 1 << 15

// accounts holds the accounts by id. put, remove and freeze must not be called
// concurrently; get may be called at any time and never waits.
type accounts struct {
	gen    uint32 // number of freezes; only the writer uses it
	shards [shards]shard
}

type shard struct {
	gen  uint32 // the list was copied after this freeze; only the writer uses it
	list atomic.Pointer[[]slot]
}

// slot holds an account and the hash of its id. The hash does not change once readers
// can load the slot.
type slot struct {
	hash uint64
	a    atomic.Pointer[Account]
}

// frozen holds the lists of all shards at one point of the log.
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
	// Concurrent readers have the shorter list and do not read beyond its length.
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

// copyList replaces a shard's list with a copy that has room for more slots, and returns
// the copy.
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

// freeze returns the current lists. They do not change any more: the next change of each
// shard copies its list.
func (a *accounts) freeze() *frozen {
	a.gen++
	out := new(frozen)
	for i := range out {
		out[i] = a.shards[i].list.Load()
	}
	return out
}

// sorted returns the accounts of a shard in the order of their ids. It reuses the memory
// of into.
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
	After string // only ids above it, in byte order
	Tier  int    // level of the tier; negative: any
	Limit int
}

// List returns the first q.Limit accounts that a query selects, in byte order of their
// ids. It visits every account.
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

// Push implements heap.Interface.
func (h *largest) Push(x any) { *h = append(*h, x.(*Account)) }

// Pop implements heap.Interface.
func (h *largest) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
