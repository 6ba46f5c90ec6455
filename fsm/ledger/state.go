package ledger

import (
	"sync"
	"sync/atomic"
)

// State is the replicated state. Apply must be called by one goroutine at a
// time; everything else may be called at any time by any.
type State struct {
	accounts atomic.Pointer[accounts]
	table    atomic.Pointer[Table]
	owners   atomic.Pointer[Map]
	tokens   atomic.Pointer[Tokens]

	mu        sync.RWMutex // guards what follows
	index     uint64
	now       int64 // milliseconds, never falls
	forgot    int64 // time of the last key that was forgotten
	clusterID string
	keys      *keyLog
	expiries  expiries
	hash      hashRing
	audit     auditLog
	version   uint64   // of commands, in force
	stage     *stage   // a restore under way; nil: none
	restored  string   // id of the last restore
	removed   []string // ids of nodes, in the order of their removal; replaced, never changed
}

// NewState returns the state of a cluster in which nothing has happened: the
// default policy at revision 1, no accounts, no tokens and no owners.
func NewState() (*State, error) {
	t, err := Compile(1, defaultPolicy)
	if err != nil {
		return nil, err
	}
	s := &State{keys: newKeyLog(), expiries: newExpiries(), version: firstVersion}
	s.accounts.Store(newAccounts())
	s.table.Store(t)
	s.owners.Store(&Map{})
	s.tokens.Store(newTokens())
	return s, nil
}

// Table returns the policy in force.
func (s *State) Table() *Table { return s.table.Load() }

// Map returns the ownership map in force; its epoch is 0 before the first.
func (s *State) Map() *Map { return s.owners.Load() }

// Account returns an account, nil if it was never seen. It must not be changed.
func (s *State) Account(id string) *Account { return s.accounts.Load().get(id) }

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

// Now returns the time of the log, in milliseconds since 1970.
func (s *State) Now() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now
}

// KeysSince returns the time, in milliseconds since 1970, since which every
// key is remembered; 0 before the first command.
func (s *State) KeysSince() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keysSinceLocked()
}

func (s *State) keysSinceLocked() int64 {
	if s.now == 0 {
		return 0
	}
	return max(0, s.now-KeyWindow, s.forgot+1)
}

// Entry returns the entry that was applied under a key, while the key is
// remembered.
func (s *State) Entry(account, key string) (Entry, bool) {
	hash := hashKey(account, key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	k := s.keys.get(hash)
	if k == nil {
		return Entry{}, false
	}
	return Entry{Key: key, Type: k.typ, Amount: k.amount, Index: k.index}, true
}

// Skip notes a log index that carries no command.
func (s *State) Skip(index uint64) {
	s.mu.Lock()
	s.index = max(s.index, index)
	s.mu.Unlock()
}
