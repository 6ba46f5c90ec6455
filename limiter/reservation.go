package limiter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"quorate/limiter/bucket"
)

// Reservations configures the reservations of a node.
type Reservations struct {
	TTL  time.Duration // how long a reservation can be settled
	Most int64         // how many a node keeps; a check beyond that is allowed without one

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
	Take  uint64 // number of the take among those of its token bucket; 0: none
	Low   int64  // of a snapshot: the lowest debt since the take
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
		out = append(out, ReservationSnapshot{id, r.account, max(0, now-r.taken), sh.exportHolds(r), r.settled})
	}
	return out
}

// exportHolds returns the holds of a reservation with the lowest debt since each take.
// A take of which nothing is owed has a number too: its receiver needs no replay.
func (sh *shard) exportHolds(r *reservation) []Hold {
	account := sh.accounts[r.account]
	holds := slices.Clone(r.holds)
	for i := range holds {
		h := &holds[i]
		if h.Limit.Algorithm != bucket.TokenBucket {
			continue
		}
		if h.Low = 0; account != nil {
			h.Low = find(account.entries, &bucket.Scoped{Limit: h.Limit, Scope: h.Scope}).lowest(h.Take)
		}
		h.Take = max(1, h.Take)
	}
	return holds
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
	moved := make(map[string]bool, len(m.Reservations))
	for i := range m.Reservations {
		r := &m.Reservations[i]
		switch {
		case sh.reserved[r.ID] != nil:
			l.live.Add(-1)
		case r.Age >= l.cfg.Reservations.TTL, l.live.Load() >= l.cfg.Reservations.Most:
			continue
		}
		sh.reserve(r.ID, &reservation{account: r.Account, taken: now - r.Age, holds: slices.Clone(r.Holds), settled: r.Settled})
		moved[r.ID] = true
		l.live.Add(1)
	}
	l.restoreTakes(sh, moved, now)
}

func (sh *shard) reserve(id string, r *reservation) {
	if sh.reserved == nil {
		sh.reserved = map[string]*reservation{}
	}
	sh.reserved[id] = r
}

// reserve remembers what a check took and returns the reservation's id, empty if there
// is no room.
func (l *Local) reserve(sh *shard, c *bucket.Check, limits []bucket.Scoped, states []bucket.State, have []entry) string {
	if l.cfg.Reservations.NewID == nil || l.live.Load() >= l.cfg.Reservations.Most {
		return ""
	}
	r := &reservation{account: strings.Clone(c.Account), taken: l.now()}
	for i := range limits {
		r.taken = states[i].At
		h := Hold{Scope: limits[i].Scope, Limit: limits[i].Limit, Units: c.Cost(limits[i].Unit)}
		if h.Units > 0 && h.Limit.Algorithm == bucket.TokenBucket {
			h.Take = l.addTake(find(have, &limits[i]), states[i].Units)
		}
		r.holds = append(r.holds, h)
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
			sh.endTakes(r)
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
	sh.endTakes(r)
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
		h := &r.holds[i]
		delta := s.Tokens - h.Units
		switch {
		case s.Release:
			delta = -h.Units
		case h.Limit.Unit != bucket.Tokens:
			delta = 0
		}
		if e := account.toCorrect(h, delta); e != nil {
			scoped := bucket.Scoped{Limit: h.Limit, Scope: h.Scope}
			if e.sliding == nil {
				scoped.Algorithm = bucket.TokenBucket
			} else {
				scoped.Algorithm = bucket.SlidingWindow
			}
			if len(account.entries) == 1 { // it may be the account's first
				sh.addAccount(r.account, account)
			}
			use, forgiven := e.correct(h, delta, r.taken, now)
			o.l.ForgivenUnits.Add(uint64(forgiven))
			o.publish(&scoped, use, 0)
		}
	}
}

// toCorrect returns the bucket to correct by delta, or nil for none. Nothing is given
// back to a bucket that has replaced that of the hold. Use above a reservation is owed by
// the bucket that counts now, of whatever algorithm, or by a new one.
func (account *accountBuckets) toCorrect(h *Hold, delta int64) *entry {
	scoped := bucket.Scoped{Limit: h.Limit, Scope: h.Scope}
	e := find(account.entries, &scoped)
	switch {
	case delta == 0:
		return nil
	case e != nil || delta < 0:
		return e
	}
	scoped.Algorithm = bucket.TokenBucket + bucket.SlidingWindow - h.Limit.Algorithm
	if e = find(account.entries, &scoped); e != nil {
		return e
	}
	scoped.Algorithm = h.Limit.Algorithm
	account.entries = append(account.entries, newEntry(&scoped))
	return &account.entries[len(account.entries)-1]
}

// correct changes a bucket by delta, to no less than nothing, and returns its use and the
// units that are forgiven.
func (e *entry) correct(h *Hold, delta int64, taken, now time.Duration) (use bucket.State, forgiven int64) {
	switch {
	case e.sliding != nil:
		e.sliding.Correct(h.Limit, delta, taken, now)
		e.state = bucket.State{Rate: h.Limit.Limit, At: now}
		return bucket.State{Units: e.sliding.Use(h.Limit, now), At: now}, 0
	case delta < 0:
		e.giveBack(h, -delta, now)
	default:
		forgiven = delta - e.owe(h.Limit, delta, now)
	}
	use = decay(e.state, e.window, now)
	use.At = now
	return use, forgiven
}
