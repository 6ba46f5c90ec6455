// Package limiter holds this node's buckets and routes each check to the node that may
// decide it.
//
// Local keeps all buckets of an account behind the lock of one shard, so a check takes
// from all its limits or from none. Router asks the owner of the account. While the
// owner cannot be reached its successors decide as fallback nodes. All times of a check's
// way are in walk.go. DESIGN.md describes the roles, replication and handoffs.
package limiter

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

// Rules decides what needs no bucket. Calls may overlap.
type Rules interface {
	Rule(c *bucket.Check) bucket.Ruling
	Index() uint64
	WaitIndex(ctx context.Context, index uint64) error
}

// Config is what a Local is made of.
type Config struct {
	Node   string
	Rules  Rules
	Leases Leases
	Outbox Outbox
	Now    func() time.Duration // monotonic

	Partitions  int                       // at least 1
	Partition   func(account string) int  // 0 to Partitions-1
	Replication func() bucket.Replication // by the policy in force
	FirstSource uint64                    // random; the sources of this boot have the numbers that follow

	Reservations Reservations // the zero value gives none
}

// Validate returns an error that names the first field that is missing or out of
// bounds.
func (c *Config) Validate() error {
	missing := ""
	switch {
	case c.Node == "":
		missing = "Node"
	case c.Rules == nil:
		missing = "Rules"
	case c.Leases == nil:
		missing = "Leases"
	case c.Outbox == nil:
		missing = "Outbox"
	case c.Now == nil:
		missing = "Now"
	case c.Partitions < 1:
		missing = "Partitions"
	case c.Partition == nil:
		missing = "Partition"
	case c.Replication == nil:
		missing = "Replication"
	}
	if missing != "" {
		return fmt.Errorf("limiter: no %s", missing)
	}
	return c.Reservations.Validate()
}

// Local holds the buckets of this node.
type Local struct {
	cfg   Config
	node  string               // cfg.Node
	rules Rules                // cfg.Rules
	now   func() time.Duration // cfg.Now
	parts []shard              // by partition

	live        atomic.Int64  // reservations
	settlements atomic.Uint64 // settlements that changed a bucket
	takes       atomic.Uint64 // the number of the last take with a reservation

	sequence atomic.Uint64 // of the last usage bound
	sources  atomic.Uint64 // the source begun last
	view     atomic.Pointer[localView]

	FallbackUnits atomic.Uint64                 // units admitted as the fallback of owners
	AbsorbedUnits atomic.Uint64                 // units that fallback nodes admitted and this owner has added
	ForgivenUnits atomic.Uint64                 // units used above reservations and above the bound of a debt
	viewMu        sync.Mutex                    // held while the view is replaced; see shard for the order
	changed       atomic.Pointer[chan struct{}] // closed at the next change of a role; nil: nothing waits for one
}

// shard holds the buckets of one partition.
//
// Lock order, across packages: the cluster's lock of ownership (held during Adopt),
// Local.viewMu, shard.mu, Exchange.mu, sender.mu. Outbox.Publish takes the last two
// with shard.mu held. Leases.Valid is called with viewMu or a shard.mu held and takes
// no lock. Leases.Majority, which may block, is called without any.
type shard struct {
	mu        sync.Mutex
	accounts  map[string]*accountBuckets  // nil: none; guarded by mu
	tracked   map[bucket.ID]*tracked      // buckets of this owner; guarded by mu
	copies    map[bucket.ID]*replica.Copy // of other owners' buckets; guarded by mu
	fallbacks map[bucket.ID]*fallback     // of other owners' buckets; guarded by mu
	reserved  map[string]*reservation     // by id; guarded by mu
}

// accountBuckets holds the buckets of one account.
type accountBuckets struct{ entries []entry }

// entry is one bucket of an account. The value of the limit is not part of its
// identity: use survives a change of the limit. A change of the algorithm begins
// another bucket.
type entry struct {
	scope   string
	unit    bucket.Unit
	window  time.Duration
	state   bucket.State   // of a sliding window: only the rate and the instant of the last touch
	spent   int64          // units ever taken
	sliding *bucket.Window // nil: a token bucket
	takes   *openTakes     // nil: none, as of a sliding window
}

// NewLocal returns an empty set of buckets. It decides nothing as an owner before
// it has adopted a map.
func NewLocal(c Config) (*Local, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	l := &Local{cfg: c, node: c.Node, rules: c.Rules, now: c.Now, parts: make([]shard, c.Partitions)}
	l.sources.Store(c.FirstSource)
	return l, nil
}

// open begins a decision and decides what needs no bucket. It returns true if the
// limits of the ruling are still to be decided. Its error is that of waiting for
// c.MinIndex.
func (l *Local) open(ctx context.Context, c *bucket.Check, d *bucket.Decision) (r bucket.Ruling, open bool, err error) {
	if c.MinIndex > l.rules.Index() {
		if err := l.rules.WaitIndex(ctx, c.MinIndex); err != nil {
			return r, false, err
		}
	}
	index := l.rules.Index() // before the ruling: the answer reflects at least this
	r = l.rules.Rule(c)
	*d = bucket.Decision{
		Reason: r.Reason, Tier: r.Tier, Category: r.Category,
		RequiredTier: r.RequiredTier, SpendNeeded: r.SpendNeeded,
		Limits: d.Limits[:0], Hit: -1, DecidedBy: l.node, Index: index,
	}
	return r, r.Reason == bucket.OK && len(r.Limits) > 0, nil
}

// maxLimits bounds the limits of one category that are decided without an
// allocation.
const maxLimits = 8

func (l *Local) shard(account string) *shard { return &l.parts[l.cfg.Partition(account)] }

// evaluate decides over all limits and changes nothing. It returns the states at now.
func (l *Local) evaluate(sh *shard, c *bucket.Check, limits []bucket.Scoped, d *bucket.Decision, states []bucket.State, now time.Duration) []bucket.State {
	var have []entry
	if account := sh.accounts[c.Account]; account != nil {
		have = account.entries
	}
	for i := range limits {
		cost := c.Cost(limits[i].Unit)
		s, wait := usageOf(have, &limits[i], cost, now)
		states = append(states, s)
		if wait > 0 || cost > limits[i].Burst {
			d.Reason = bucket.RateLimited
			d.NeverFits = d.NeverFits || cost > limits[i].Burst
			if wait > d.RetryAfter {
				d.RetryAfter, d.Hit = wait, i
			}
		}
	}
	if d.NeverFits {
		d.RetryAfter = 0
	}
	return states
}

// commit takes the cost of an allowed check from every bucket, and fills in the status
// of the limits.
func (l *Local) commit(sh *shard, c *bucket.Check, limits []bucket.Scoped, d *bucket.Decision, states []bucket.State) {
	account := sh.accounts[c.Account]
	var have []entry
	if account != nil {
		have = account.entries
	}
	for i := range limits {
		cost := c.Cost(limits[i].Unit)
		if d.Reason != bucket.OK || c.DryRun {
			cost = 0
		}
		if cost > 0 {
			states[i] = states[i].Add(cost)
			have = put(have, &limits[i], states[i], cost)
		}
		d.Limits = append(d.Limits, status(have, &limits[i], states[i]))
	}
	if d.Reason == bucket.OK && c.Reserve {
		d.Reservation = l.reserve(sh, c, limits, states, have)
	}
	switch {
	case account != nil:
		account.entries = have
	case len(have) > 0:
		// The caller may overwrite the memory of the check's strings.
		sh.addAccount(strings.Clone(c.Account), &accountBuckets{have})
	}
}

// addAccount adds an account's buckets.
func (sh *shard) addAccount(account string, h *accountBuckets) {
	if sh.accounts == nil {
		sh.accounts = map[string]*accountBuckets{}
	}
	sh.accounts[account] = h
}

func (e *entry) is(l *bucket.Scoped) bool {
	return e.unit == l.Unit && e.window == l.Window && e.scope == l.Scope && (e.sliding != nil) == (l.Algorithm == bucket.SlidingWindow)
}

func find(have []entry, l *bucket.Scoped) *entry {
	for i := range have {
		if have[i].is(l) {
			return &have[i]
		}
	}
	return nil
}

// usageOf returns the use of a limit at now and how long cost must wait. For a sliding
// window the state holds only the units.
func usageOf(have []entry, l *bucket.Scoped, cost int64, now time.Duration) (s bucket.State, wait time.Duration) {
	e := find(have, l)
	if l.Algorithm == bucket.SlidingWindow {
		s.At = now
		if e != nil {
			s.Units, wait = e.sliding.Use(l.Limit, now), e.sliding.Wait(l.Limit, cost, now)
		}
		return s, wait
	}
	if e != nil {
		s = e.state
	}
	s = s.Decay(l.Limit, now)
	s.At = now
	return s, s.Wait(l.Limit, cost)
}

// put stores the state of a bucket after cost was taken. It replaces a bucket of the
// other algorithm.
func put(have []entry, l *bucket.Scoped, s bucket.State, cost int64) []entry {
	e := find(have, l)
	if e == nil {
		other := *l
		other.Algorithm = bucket.TokenBucket + bucket.SlidingWindow - l.Algorithm
		if e = find(have, &other); e == nil {
			have = append(have, entry{})
			e = &have[len(have)-1]
		}
		*e = newEntry(l)
	}
	e.observe(s.Units - cost)
	e.state = s
	e.spent += cost
	if e.sliding != nil {
		e.state.Units, e.state.Rate = 0, l.Limit.Limit
		e.sliding.Add(l.Limit, cost, s.At)
	}
	return have
}

func newEntry(l *bucket.Scoped) entry {
	e := entry{scope: l.Scope, unit: l.Unit, window: l.Window}
	if l.Algorithm == bucket.SlidingWindow {
		e.sliding = &bucket.Window{}
	}
	return e
}

// status returns a limit as it stands at s.At.
func status(have []entry, l *bucket.Scoped, s bucket.State) bucket.Status {
	if l.Algorithm != bucket.SlidingWindow {
		return s.Status(*l)
	}
	if e := find(have, l); e != nil {
		return e.sliding.Status(*l, s.At)
	}
	return bucket.Status{Scoped: *l, Remaining: l.Limit.Limit}
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
