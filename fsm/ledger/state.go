package ledger

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// How long and how many idempotency keys are remembered.
const (
	KeyWindow = 24 * 60 * 60 * 1000 // milliseconds of the log's time
	MaxKeys   = 4_000_000
)

// evictions bounds the keys that one operation forgets.
const evictions = 8

const shards = 256

// State is the replicated state. Apply must be called by one goroutine at a
// time; everything else may be called at any time by any.
type State struct {
	accounts [shards]shard
	table    atomic.Pointer[Table]
	owners   atomic.Pointer[Map]

	mu        sync.RWMutex // guards what follows
	index     uint64
	now       int64 // milliseconds, never falls
	clusterID string
	keys      map[keyHash]*keyRecord
	order     []*keyRecord // oldest first
}

type shard struct {
	mu sync.RWMutex
	m  map[string]*Account
}

// keyHash names an idempotency key within its account; 128 bits of SHA-256,
// because a caller who could make two collide could lose an entry.
type keyHash [16]byte

type keyRecord struct {
	hash   keyHash
	time   int64
	index  uint64
	amount Micros
	typ    EntryType
}

// NewState returns the state of a cluster in which nothing has happened: the
// default policy at revision 1, no accounts and no owners.
func NewState() (*State, error) {
	t, err := Compile(1, defaultPolicy)
	if err != nil {
		return nil, err
	}
	s := &State{keys: map[keyHash]*keyRecord{}}
	for i := range s.accounts {
		s.accounts[i].m = map[string]*Account{}
	}
	s.table.Store(t)
	s.owners.Store(&Map{})
	return s, nil
}

// Table returns the policy in force.
func (s *State) Table() *Table { return s.table.Load() }

// Map returns the ownership map in force; its epoch is 0 before the first.
func (s *State) Map() *Map { return s.owners.Load() }

// ClusterID returns the cluster's id, empty before it has one.
func (s *State) ClusterID() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.clusterID
}

// Index returns the log index of the last command applied.
func (s *State) Index() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index
}

// KeysSince returns the time, in milliseconds since 1970, since which every
// key is remembered; 0 when none was ever forgotten.
func (s *State) KeysSince() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.now == 0 {
		return 0
	}
	since := s.now - KeyWindow
	if len(s.order) >= MaxKeys {
		since = max(since, s.order[0].time)
	}
	return max(0, since)
}

// Account returns an account, nil if it was never seen. It must not be changed.
func (s *State) Account(id string) *Account {
	sh := s.shard(id)
	sh.mu.RLock()
	a := sh.m[id]
	sh.mu.RUnlock()
	return a
}

func (s *State) shard(id string) *shard { return &s.accounts[xxhash.Sum64String(id)%shards] }

func (s *State) store(a *Account) {
	sh := s.shard(a.ID)
	sh.mu.Lock()
	sh.m[a.ID] = a
	sh.mu.Unlock()
}

// Apply applies the command at a log index and returns a result for each of
// its operations.
func (s *State) Apply(index uint64, c *Command) []Result {
	s.mu.Lock()
	s.now = max(s.now, c.Time)
	s.mu.Unlock()
	results := make([]Result, len(c.Ops))
	for i := range c.Ops {
		results[i] = s.applyOp(index, &c.Ops[i])
	}
	s.mu.Lock()
	s.index = index
	s.mu.Unlock()
	return results
}

// Skip notes a log index that carries no command.
func (s *State) Skip(index uint64) {
	s.mu.Lock()
	s.index = max(s.index, index)
	s.mu.Unlock()
}

func (s *State) applyOp(index uint64, o *Op) Result {
	switch o.Kind {
	case OpEntry:
		return s.applyEntry(index, o)
	case OpPatch:
		return s.applyPatch(o)
	case OpMap:
		if o.Map.Epoch != s.Map().Epoch+1 || len(o.Map.Places) != Partitions {
			return Result{Err: ErrStaleEpoch}
		}
		s.owners.Store(o.Map)
		return Result{}
	case OpClusterID:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.clusterID != "" {
			return Result{Err: ErrClusterID}
		}
		s.clusterID = o.ClusterID
		return Result{}
	}
	return Result{Err: ErrUnknownCommand}
}

// current returns a copy of the account, new if it was never seen.
func (s *State) current(id string) Account {
	if a := s.Account(id); a != nil {
		return *a
	}
	return NewAccount(id)
}

func (s *State) applyEntry(index uint64, o *Op) Result {
	a := s.current(o.Account)
	hash := hashKey(o.Account, o.Key)
	res := Result{Account: a, Entry: Entry{Key: o.Key, Type: o.Type, Amount: o.Amount, Index: index}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked()
	if k := s.keys[hash]; k != nil {
		res.Entry.Index = k.index
		if k.typ != o.Type || k.amount != o.Amount {
			return Result{Err: ErrKeyReused, Account: a}
		}
		res.Replayed = true
		return res
	}
	next, err := Charge(a, o.Type, o.Amount)
	if err != nil {
		return Result{Err: err, Account: a}
	}
	s.store(&next)
	k := &keyRecord{hash: hash, time: s.now, index: index, amount: o.Amount, typ: o.Type}
	s.keys[hash] = k
	s.order = append(s.order, k)
	res.Account = next
	return res
}

// forgetLocked forgets a few of the keys that are past the window.
func (s *State) forgetLocked() {
	for range evictions {
		if len(s.order) == 0 {
			return
		}
		oldest := s.order[0]
		if len(s.order) < MaxKeys && oldest.time > s.now-KeyWindow {
			return
		}
		delete(s.keys, oldest.hash)
		s.order[0] = nil
		s.order = s.order[1:]
	}
}

func (s *State) applyPatch(o *Op) Result {
	a := s.current(o.Account)
	if p := o.Patch.Plan; p != nil {
		a.Plan = *p
	}
	if l := o.Patch.UsageLimit; l != nil {
		a.UsageLimit = *l
	}
	if v := o.Patch.Suspended; v != nil {
		a.Suspended = *v
	}
	s.store(&a)
	return Result{Account: a}
}

func hashKey(account, key string) (h keyHash) {
	b := make([]byte, 0, 1+len(account)+len(key))
	b = append(b, byte(len(account)))
	b = append(b, account...)
	b = append(b, key...)
	sum := sha256.Sum256(b)
	copy(h[:], sum[:])
	return h
}
