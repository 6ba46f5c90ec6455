package ledger

import (
	"errors"
	"fmt"
)

// Apply applies the command at a log index and returns a result for each of its
// operations. Each operation succeeds or fails independently. The effect depends only on
// the state and the command.
func (s *State) Apply(index uint64, c *Command) []Result {
	results := make([]Result, len(c.Ops))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = max(s.now, c.Time)
	s.abandonRestoreLocked()
	expired := s.expireLocked()
	for i := range c.Ops {
		results[i] = s.applyLocked(index, &c.Ops[i])
		s.auditLocked(index, &c.Ops[i], &results[i])
	}
	s.index = index
	s.hash.add(index, s.version, s.now, s.forgot, expired, results)
	return results
}

func (s *State) applyLocked(index uint64, o *Op) Result {
	if s.stage != nil && o.Kind.undoneByRestore() {
		return Result{Err: ErrRestoring}
	}
	if (o.Kind == OpEntry || o.Kind == OpPatch) && o.version() > max(s.version, nanoVersion-1) {
		return Result{Err: ErrUpgrade, Account: s.current(o.Account)}
	}
	switch o.Kind {
	case OpEntry:
		return s.applyEntryLocked(index, o)
	case OpPatch:
		return s.applyPatchLocked(o)
	case OpDelete:
		return s.applyDeleteLocked(o)
	case OpPolicy:
		return s.applyPolicyLocked(o)
	case OpMap:
		if o.Map.Epoch != s.Map().Epoch+1 || len(o.Map.Places) != Partitions {
			return Result{Err: ErrStaleEpoch}
		}
		s.owners.Store(o.Map)
		return Result{}
	case OpClusterID:
		if s.clusterID != "" {
			return Result{Err: ErrClusterID}
		}
		s.clusterID = o.ClusterID
		return Result{}
	case OpToken:
		return Result{Err: s.applyTokenLocked(o)}
	case OpRevoke:
		return Result{Err: s.applyRevoke(o)}
	case OpTick, OpNote:
		return Result{}
	case OpVersion:
		s.version = max(s.version, o.Version)
		return Result{}
	case OpRestore:
		return s.applyRestoreLocked(index, o.Restore)
	case OpRemove:
		s.applyRemoveLocked(o.Node)
		return Result{}
	case OpSetting:
		return s.applySettingLocked(o.Setting)
	case OpSecret:
		return s.applySecretLocked(o.Secret)
	case OpSettle:
		return s.applySettleLocked(index, o)
	}
	return Result{Err: ErrUnknownCommand}
}

// current returns a copy of the account, or a new account if it does not exist.
func (s *State) current(id string) Account {
	if a := s.Account(id); a != nil {
		return *a
	}
	return NewAccount(id)
}

func (s *State) applyEntryLocked(index uint64, o *Op) Result {
	a := s.current(o.Account)
	res := Result{Account: a, Entry: Entry{Key: o.Key, Type: o.Type, Amount: o.Amount, Index: index}}
	s.forgot = s.forgetFromLocked(s.keys, s.forgot)
	hash := hashKey(o.Account, o.Key)
	if k := s.keys.get(hash); k != nil && !noDedupe {
		res.Entry.Index = k.index
		if k.typ != o.Type || k.amount != o.Amount {
			return Result{Err: ErrKeyReused, Account: a}
		}
		res.Replayed = true
		return res
	}
	if o.Issued != 0 && o.Issued < s.keysSinceLocked() {
		return Result{Err: ErrKeyExpired, Account: a}
	}
	at := s.now
	if s.version >= timeVersion {
		if o.Issued > s.now+IssuedAhead {
			return Result{Err: ErrIssuedInFuture, Account: a}
		}
		// If the record had the log's time, the key could be forgotten and its entry,
		// issued later than that, be applied a second time.
		at = max(at, o.Issued)
	}
	next, err := Charge(a, o.Type, o.Amount)
	if err != nil {
		if s.version < nanoVersion && errors.Is(err, ErrOverflow) && o.Amount > 0 && o.Amount <= MaxAmount {
			s.unfitLocked(fmt.Errorf("an entry of $%s for account %q: %w", o.Amount, o.Account, ErrBalance))
		}
		return Result{Err: err, Account: a}
	}
	s.accounts.Load().put(&next)
	s.keys.add(keyRecord{hash: hash, time: at, index: index, amount: o.Amount, typ: o.Type})
	res.Account = next
	return res
}

// forgetFromLocked forgets up to evictions keys that are older than the key memory or too
// many. It returns the time of the newest forgotten key.
func (s *State) forgetFromLocked(keys *keyLog, forgot int64) int64 {
	for range evictions {
		oldest := keys.oldest()
		if oldest == nil || keys.len() < keys.max && oldest.time > s.now-s.keyMemoryLocked() {
			break
		}
		forgot = max(forgot, oldest.time)
		keys.forget()
	}
	return forgot
}

func (s *State) applyPatchLocked(o *Op) Result {
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
	if v := o.Patch.Overrides; v != nil {
		left := v.without(s.now)
		if n := len(v.List); n > 0 && (left == nil || len(left.List) < n) {
			return Result{Err: ErrPastExpiry, Account: s.current(o.Account)}
		}
		a.Overrides = left
		s.expiries.watch(a.ID, left)
	}
	s.accounts.Load().put(&a)
	return Result{Account: a}
}

func (s *State) applyDeleteLocked(o *Op) Result {
	a := s.Account(o.Account)
	switch {
	case a == nil:
		return Result{Err: ErrUnknownAccount, Account: NewAccount(o.Account)}
	case a.Free != 0 || a.Purchased != 0 || a.OpenBill != 0:
		return Result{Err: ErrNotEmpty, Account: *a}
	}
	s.accounts.Load().remove(o.Account)
	s.expiries.watch(o.Account, nil)
	return Result{Account: *a}
}

// unfitLocked records that replicas of the version before apply what this program cannot.
func (s *State) unfitLocked(err error) {
	if s.unfit == nil && errors.Is(err, ErrBalance) {
		s.unfit = err
	}
}

// Unfit returns an error that wraps ErrBalance once a command below nanoVersion had an
// effect on other replicas that this program cannot represent. The state is then useless.
func (s *State) Unfit() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.unfit
}

// applyPolicyLocked replaces the policy. The proposing node has compiled it too, but a
// policy that does not compile here, or not in a program of the version in force, changes
// nothing.
func (s *State) applyPolicyLocked(o *Op) Result {
	was := s.Table()
	if o.IfMatch != 0 && o.IfMatch != was.Revision {
		return Result{Err: ErrRevision, Revision: was.Revision}
	}
	t, err := Compile(was.Revision+1, []byte(o.Doc))
	if err != nil || t.Policy.version() > s.version && s.version < nanoVersion {
		return Result{Err: ErrInvalidPolicy, Revision: was.Revision}
	}
	s.table.Store(t)
	return Result{Revision: t.Revision}
}
