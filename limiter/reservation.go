package limiter

import (
	"strings"
	"time"

	"quorate/limiter/bucket"
)

// Reservations says how reservations are kept.
type Reservations struct {
	TTL   time.Duration // how long one can be settled
	Most  int64         // how many a node keeps; beyond, a check is allowed without one
	NewID func() string // returns an id that was never used, of at most bucket.MaxReservation bytes
}

// DefaultTTL and DefaultMost are what a node keeps unless told otherwise.
const (
	DefaultTTL  = 10 * time.Minute
	DefaultMost = 1_000_000
)

// Reserve has the node give reservations. It must come before all checks.
func (l *Local) Reserve(r Reservations) { l.reservations = r }

// reservation is what an allowed check took, until it is settled and for as
// long as a settlement could come again.
type reservation struct {
	account string
	taken   time.Duration
	takes   []took
	settled *bucket.Settlement // nil: not yet
}

// took is what a reservation took from one bucket.
type took struct {
	scope string
	limit bucket.Limit
	units int64
}

// reserve remembers what a check took and returns the reservation's id, empty
// when there is no room for one.
func (l *Local) reserve(sh *shard, c *bucket.Check, limits []bucket.Scoped, states []bucket.State) string {
	if l.reservations.NewID == nil || l.live.Load() >= l.reservations.Most {
		return ""
	}
	r := &reservation{account: strings.Clone(c.Account), taken: l.now()}
	for i := range limits {
		r.taken = states[i].At
		r.takes = append(r.takes, took{limits[i].Scope, limits[i].Limit, c.Cost(limits[i].Unit)})
	}
	if sh.reserved == nil {
		sh.reserved = map[string]*reservation{}
	}
	id := l.reservations.NewID()
	sh.reserved[id] = r
	l.live.Add(1)
	return id
}

// expire forgets the reservations that can be settled no more. The estimate
// stands.
func (l *Local) expire(sh *shard, now time.Duration) {
	for id, r := range sh.reserved {
		if now-r.taken >= l.reservations.TTL {
			delete(sh.reserved, id)
			l.live.Add(-1)
		}
	}
}

// Reserved returns how many reservations the node keeps, and how many
// settlements it has made.
func (l *Local) Reserved() (live int64, settled uint64) { return l.live.Load(), l.settled.Load() }

// Settle corrects the buckets of a reservation of this node's: by the tokens
// used less those reserved, or, for a release, by all that it took. Said again
// it changes nothing.
func (l *Local) Settle(s *bucket.Settlement) bucket.Settled {
	sh := l.shard(s.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	r := sh.reserved[s.Reservation]
	switch {
	case r == nil || r.account != s.Account || now-r.taken >= l.reservations.TTL:
		return bucket.SettledUnknown
	case r.settled != nil && *r.settled == *s:
		return bucket.SettledBefore
	case r.settled != nil:
		return bucket.SettledOtherwise
	}
	if !l.correctAll(sh, r, s, now) {
		return bucket.SettledUnknown
	}
	done := *s
	done.Account, done.Reservation = r.account, strings.Clone(s.Reservation)
	r.settled = &done
	l.settled.Add(1)
	return bucket.SettledNow
}

// correctAll corrects every bucket that the reservation took from; false when
// this node does not decide on them any more.
func (l *Local) correctAll(sh *shard, r *reservation, s *bucket.Settlement, now time.Duration) bool {
	var o *ownership
	if l.cluster.Leases != nil {
		p := l.cluster.Partition(r.account)
		part, role, since := l.view.Load().part(p)
		if role != owner || !l.cluster.Leases.Valid(p, now) {
			return false
		}
		o = &ownership{l: l, sh: sh, id: bucket.ID{Account: r.account}, since: since, part: &part, rule: l.cluster.Replication()}
	}
	account := sh.accounts[r.account]
	if account == nil {
		account = &held{}
	}
	for i := range r.takes {
		t := &r.takes[i]
		delta := s.Tokens - t.units
		switch {
		case s.Release:
			delta = -t.units
		case t.limit.Unit != bucket.Tokens:
			delta = 0
		}
		if delta == 0 {
			continue
		}
		scoped := bucket.Scoped{Limit: t.limit, Scope: t.scope}
		use := correct(account, &scoped, delta, r.taken, now)
		if o != nil {
			o.state(&scoped, use, 0)
		}
	}
	if len(account.entries) > 0 {
		sh.keep(r.account, account)
	}
	return true
}

// correct changes one bucket by delta, never to below nothing.
func correct(account *held, l *bucket.Scoped, delta int64, taken, now time.Duration) bucket.State {
	e := find(account.entries, l)
	if l.Algorithm == bucket.SlidingWindow {
		if e == nil {
			account.entries = put(account.entries, l, bucket.State{At: now}, 0)
			e = find(account.entries, l)
		}
		e.sliding.Correct(l.Limit, delta, taken, now)
		return bucket.State{Units: e.sliding.Use(l.Limit, now), At: now}
	}
	s, _ := look(account.entries, l, 0, now)
	if s.Units += delta; s.Units < 0 {
		s.Units, s.Frac = 0, 0
	}
	account.entries = put(account.entries, l, s, 0)
	find(account.entries, l).spent += delta
	return s
}
