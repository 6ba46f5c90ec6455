package ledger

import (
	"sync"
	"sync/atomic"
)

// State is the replicated state. Apply must not be called concurrently with itself. All
// other exported methods may be called concurrently, also with Apply.
type State struct {
	accounts atomic.Pointer[accounts]
	table    atomic.Pointer[Table]
	owners   atomic.Pointer[Map]
	tokens   atomic.Pointer[Tokens]

	mu        sync.RWMutex // guards the fields below
	index     uint64
	now       int64 // the log's time in milliseconds since 1970; never falls
	forgot    int64 // time of the newest forgotten key
	clusterID string
	keys      *keyLog
	expiries  expiries
	hash      hashRing
	audit     auditLog
	settings  Settings
	settled   settlements
	version   uint64   // version of commands in force
	stage     *stage   // the restore in progress, nil if there is none
	restored  string   // id of the last restore
	unfit     error    // see Unfit
	removed   []string // ids of removed nodes in the order of removal; replaced, never changed in place
}

// NewState returns the initial state: the default policy at revision 1, no accounts, no
// tokens and no owners.
func NewState() (*State, error) {
	t, err := Compile(1, defaultPolicy)
	if err != nil {
		return nil, err
	}
	s := &State{keys: newKeyLog(), expiries: newExpiries(), settled: settlements{keys: newKeyLog()}, version: firstVersion}
	s.accounts.Store(newAccounts())
	s.table.Store(t)
	s.owners.Store(&Map{})
	s.tokens.Store(newTokens())
	return s, nil
}

// Table returns the policy in force.
func (s *State) Table() *Table { return s.table.Load() }

// Map returns the ownership map in force, with epoch 0 before the first map.
func (s *State) Map() *Map { return s.owners.Load() }

// Account returns an account, nil if it does not exist. Callers must not change it.
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

// Now returns the log's time in milliseconds since 1970.
func (s *State) Now() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now
}

// KeysSince returns the earliest time, in milliseconds since 1970, since which all keys
// are remembered; 0 before the first command.
func (s *State) KeysSince() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.keysSinceLocked()
}

func (s *State) keysSinceLocked() int64 {
	if s.now == 0 {
		return 0
	}
	return max(0, s.now-s.keyMemoryLocked(), s.forgot+1)
}

// Entry returns the entry that was applied under a key. ok is false if there is none, or
// if the key is forgotten.
func (s *State) Entry(account, key string) (e Entry, ok bool) {
	hash := hashKey(account, key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	k := s.keys.get(hash)
	if k == nil {
		return Entry{}, false
	}
	return Entry{Key: key, Type: k.typ, Amount: k.amount, Index: k.index}, true
}

// Skip records the index of a log entry that is not a command.
func (s *State) Skip(index uint64) {
	s.mu.Lock()
	s.index = max(s.index, index)
	s.mu.Unlock()
}
