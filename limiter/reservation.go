package limiter

import (
	"fmt"
	"strings"
	"time"

	"quorate/limiter/bucket"
)

// Reservations configures the reservations of a node.
type Reservations struct {
	TTL   time.Duration // how long a reservation can be settled
	Most  int64         // how many a node keeps; a check beyond that is allowed without one

	// NewID returns an id for a reservation of the account that was never used, of at
	// most bucket.MaxReservation bytes. It must not keep the account's string.
	NewID func(account string) string
}

// DefaultTTL and DefaultMost are the defaults of Reservations.
const (
	DefaultTTL  = 10 * time.Minute
	DefaultMost = 1_000_000
)

// Validate returns an error if a bound is missing.
func (r *Reservations) Validate() error {
	if r.NewID != nil && (r.TTL <= 0 || r.Most < 1) {
		return fmt.Errorf("limiter: reservations: TTL %s and Most %d, want both above 0", r.TTL, r.Most)
	}
	return nil
}

// reservation is what an allowed check took. It is kept until it expires, settled or
// not, because a settlement may be repeated.
type reservation struct {
	account string
	taken   time.Duration
	holds   []Hold
	settled *bucket.Settlement // nil: not yet; never changed
}

// Hold is what a reservation took from one bucket.
type Hold struct {
	Scope string
	Limit bucket.Limit
	Units int64
}

// ReservationSnapshot is a reservation on its way to the next owner of its account. It
// must not be changed.
type ReservationSnapshot struct {
	ID      string
	Account string
	Age     time.Duration
	Holds   []Hold
	Settled *bucket.Settlement // nil: not yet
}

// exportReservations returns the reservations of a partition.
func (l *Local) exportReservations(p int) []ReservationSnapshot {
	sh := &l.parts[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	out := make([]ReservationSnapshot, 0, len(sh.reserved))
	for id, r := range sh.reserved {
		out = append(out, ReservationSnapshot{id, r.account, max(0, now-r.taken), r.holds, r.settled})
	}
	return out
}

// importReservations takes over the reservations of a partition that can still be
// settled, as many as there is room for.
func (l *Local) importReservations(m PartitionSnapshot) {
	sh := &l.parts[m.Partition]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l.role(m.Partition) != importing {
		return
	}
	now := l.now()
	for i := range m.Reservations {
		r := &m.Reservations[i]
		switch {
		case sh.reserved[r.ID] != nil:
			l.live.Add(-1)
		case r.Age >= l.cfg.Reservations.TTL, l.live.Load() >= l.cfg.Reservations.Most:
			continue
		}
		sh.reserve(r.ID, &reservation{r.Account, now - r.Age, r.Holds, r.Settled})
		l.live.Add(1)
	}
}

func (sh *shard) reserve(id string, r *reservation) {
	if sh.reserved == nil {
		sh.reserved = map[string]*reservation{}
	}
	sh.reserved[id] = r
}

// reserve remembers what a check took and returns the reservation's id, empty if there
// is no room.
func (l *Local) reserve(sh *shard, c *bucket.Check, limits []bucket.Scoped, states []bucket.State) string {
	if l.cfg.Reservations.NewID == nil || l.live.Load() >= l.cfg.Reservations.Most {
		return ""
	}
	r := &reservation{account: strings.Clone(c.Account), taken: l.now()}
	for i := range limits {
		r.taken = states[i].At
		r.holds = append(r.holds, Hold{limits[i].Scope, limits[i].Limit, c.Cost(limits[i].Unit)})
	}
	id := l.cfg.Reservations.NewID(c.Account)
	sh.reserve(id, r)
	l.live.Add(1)
	return id
}

// expire forgets the reservations that can no longer be settled. Their estimates
// stand.
func (l *Local) expire(sh *shard, now time.Duration) {
	for id, r := range sh.reserved {
		if now-r.taken >= l.cfg.Reservations.TTL {
			delete(sh.reserved, id)
			l.live.Add(-1)
		}
	}
}

// Reserved returns how many reservations the node keeps, and how many
// settlements it has made.
func (l *Local) Reserved() (live int64, settled uint64) { return l.live.Load(), l.settlements.Load() }

// Settle corrects the buckets of a reservation: by the tokens used less those
// reserved, or for a release by all that the reservation took. A repetition changes
// nothing. ErrNotOwner means that this node does not decide on the account now, and
// its owner may know the reservation.
func (l *Local) Settle(s *bucket.Settlement) (bucket.Settled, error) {
	sh := l.shard(s.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	p := l.cfg.Partition(s.Account)
	v := l.view.Load()
	_, role, since := v.part(p)
	if role != owner || !l.cfg.Leases.Valid(p, now) {
		return bucket.SettledUnknown, ErrNotOwner
	}
	o := &ownerAttempt{l: l, sh: sh, id: bucket.ID{Account: s.Account}, since: since, part: &v.Parts[p], rule: l.cfg.Replication()}
	r := sh.reserved[s.Reservation]
	switch {
	case r == nil || r.account != s.Account || now-r.taken >= l.cfg.Reservations.TTL:
		return bucket.SettledUnknown, nil
	case r.settled != nil && *r.settled == *s:
		return bucket.SettledBefore, nil
	case r.settled != nil:
		return bucket.SettledOtherwise, nil
	}
	correctAll(sh, o, r, s, now)
	done := *s
	done.Account, done.Reservation = r.account, strings.Clone(s.Reservation)
	r.settled = &done
	l.settlements.Add(1)
	return bucket.SettledNow, nil
}

// correctAll corrects every bucket that the reservation took from.
func correctAll(sh *shard, o *ownerAttempt, r *reservation, s *bucket.Settlement, now time.Duration) {
	account := sh.accounts[r.account]
	if account == nil {
		account = &accountBuckets{}
	}
	for i := range r.holds {
		t := &r.holds[i]
		delta := s.Tokens - t.Units
		switch {
		case s.Release:
			delta = -t.Units
		case t.Limit.Unit != bucket.Tokens:
			delta = 0
		}
		if delta == 0 {
			continue
		}
		scoped := bucket.Scoped{Limit: t.Limit, Scope: t.Scope}
		use := correct(account, &scoped, delta, r.taken, now)
		o.publish(&scoped, use, 0)
	}
	if len(account.entries) > 0 {
		sh.addAccount(r.account, account)
	}
}

// correct changes one bucket by delta, to no less than nothing.
func correct(account *accountBuckets, l *bucket.Scoped, delta int64, taken, now time.Duration) bucket.State {
	e := find(account.entries, l)
	if l.Algorithm == bucket.SlidingWindow {
		if e == nil {
			account.entries = put(account.entries, l, bucket.State{At: now}, 0)
			e = find(account.entries, l)
		}
		e.sliding.Correct(l.Limit, delta, taken, now)
		return bucket.State{Units: e.sliding.Use(l.Limit, now), At: now}
	}
	s, _ := usageOf(account.entries, l, 0, now)
	if s.Units += delta; s.Units < 0 {
		s.Units, s.Frac = 0, 0
	}
	account.entries = put(account.entries, l, s, 0)
	find(account.entries, l).spent += delta
	return s
}
