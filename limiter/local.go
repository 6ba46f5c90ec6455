// Package limiter holds this node's buckets and routes checks to who may
// decide them.
//
// Local keeps the buckets of an account together behind the lock of its shard,
// so that all the limits of a check are taken or none. Router asks the owner
// of the account, once, and falls back to its successors in order when the
// owner cannot be reached.
package limiter

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"quorate/limiter/bucket"
)

// Rules decides what needs no bucket. Calls may overlap.
type Rules interface {
	Rule(c *bucket.Check) bucket.Ruling
	Index() uint64
	WaitIndex(ctx context.Context, index uint64) error
}

const shards = 256

// Local is this node's buckets.
type Local struct {
	node  string
	rules Rules
	now   func() time.Duration // monotonic
	seed  maphash.Seed
	parts [shards]shard
}

type shard struct {
	mu       sync.Mutex
	accounts map[string]*held // guarded by mu
	_        [40]byte         // a cache line each
}

// held is the buckets of one account.
type held struct{ entries []entry }

// entry is one bucket of an account. The value of its limit is not part of its
// identity: a changed limit keeps what was used.
type entry struct {
	scope  string
	unit   bucket.Unit
	window time.Duration
	state  bucket.State
}

// NewLocal returns an empty set of buckets. now is a monotonic clock.
func NewLocal(node string, rules Rules, now func() time.Duration) *Local {
	l := &Local{node: node, rules: rules, now: now, seed: maphash.MakeSeed()}
	for i := range l.parts {
		l.parts[i].accounts = map[string]*held{}
	}
	return l
}

// Take decides a check from the buckets of this node, whoever owns the
// account; it never forwards. The error is that of waiting for c.MinIndex.
func (l *Local) Take(ctx context.Context, c *bucket.Check, d *bucket.Decision) error {
	if c.MinIndex > l.rules.Index() {
		if err := l.rules.WaitIndex(ctx, c.MinIndex); err != nil {
			return err
		}
	}
	index := l.rules.Index() // before the ruling: the answer reflects at least this
	r := l.rules.Rule(c)
	*d = bucket.Decision{
		Reason: r.Reason, Tier: r.Tier, Category: r.Category,
		RequiredTier: r.RequiredTier, SpendNeeded: r.SpendNeeded,
		Limits: d.Limits[:0], Hit: -1, DecidedBy: l.node, Index: index,
	}
	if r.Reason == bucket.OK && len(r.Limits) > 0 {
		l.takeAll(c, r.Limits, d)
	}
	return nil
}

// maxLimits bounds the limits of one category that are decided without an
// allocation.
const maxLimits = 8

// takeAll decides over all limits and then commits all or none.
func (l *Local) takeAll(c *bucket.Check, limits []bucket.Scoped, d *bucket.Decision) {
	var room [maxLimits]bucket.State
	states := room[:0]
	sh := &l.parts[maphash.String(l.seed, c.Account)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	account := sh.accounts[c.Account]
	var have []entry
	if account != nil {
		have = account.entries
	}
	for i := range limits {
		s := find(have, &limits[i]).Decay(limits[i].Limit, now)
		s.At = now
		states = append(states, s)
		if cost := c.Cost(limits[i].Unit); !s.Room(limits[i].Limit, cost) {
			d.Reason = bucket.RateLimited
			d.NeverFits = d.NeverFits || cost > limits[i].Burst
			if wait := s.Wait(limits[i].Limit, cost); wait > d.RetryAfter {
				d.RetryAfter, d.Hit = wait, i
			}
		}
	}
	if d.NeverFits {
		d.RetryAfter = 0
	}
	for i := range limits {
		if d.Reason == bucket.OK && !c.DryRun {
			if cost := c.Cost(limits[i].Unit); cost > 0 || !states[i].Idle() {
				states[i] = states[i].Add(cost)
				have = put(have, &limits[i], states[i])
			}
		}
		d.Limits = append(d.Limits, states[i].Status(limits[i]))
	}
	switch {
	case account != nil:
		account.entries = have
	case len(have) > 0:
		// The check's strings are the caller's, who may write over them.
		sh.accounts[strings.Clone(c.Account)] = &held{have}
	}
}

func (e *entry) is(l *bucket.Scoped) bool {
	return e.unit == l.Unit && e.window == l.Window && e.scope == l.Scope
}

func find(have []entry, l *bucket.Scoped) bucket.State {
	for i := range have {
		if have[i].is(l) {
			return have[i].state
		}
	}
	return bucket.State{}
}

func put(have []entry, l *bucket.Scoped, s bucket.State) []entry {
	for i := range have {
		if have[i].is(l) {
			have[i].state = s
			return have
		}
	}
	return append(have, entry{scope: l.Scope, unit: l.Unit, window: l.Window, state: s})
}

// Len counts the accounts that have buckets.
func (l *Local) Len() int {
	n := 0
	for i := range l.parts {
		l.parts[i].mu.Lock()
		n += len(l.parts[i].accounts)
		l.parts[i].mu.Unlock()
	}
	return n
}

// Sweep drops the buckets that owe nothing. It holds the lock of one shard at
// a time.
func (l *Local) Sweep() {
	for i := range l.parts {
		l.sweep(&l.parts[i])
	}
}

func (l *Local) sweep(sh *shard) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	for id, account := range sh.accounts {
		kept := account.entries[:0]
		for _, e := range account.entries {
			// The rate of the last touch is the best known; a limit that has
			// been lowered since only keeps the bucket a little longer.
			lim := bucket.Limit{Limit: max(1, e.state.Rate), Window: e.window}
			if !e.state.Decay(lim, now).Idle() {
				kept = append(kept, e)
			}
		}
		clear(account.entries[len(kept):])
		if account.entries = kept; len(kept) == 0 {
			delete(sh.accounts, id)
		}
	}
}
