package limiter

import (
	"cmp"
	"slices"
	"time"

	"quorate/limiter/bucket"
)

// debtBursts bounds the debt that settlements above their reservations can leave, in
// bursts of the limit.
const debtBursts = 10

// openTakes lists the takes of one token bucket whose reservations can still be settled.
// Their numbers are those of the node's counter, so no two buckets share one.
type openTakes struct {
	bucket.OpenTakes
	first uint64 // number of the first take; those before are of another bucket
}

// observe notes the debt after a decay.
func (e *entry) observe(owed int64) {
	if e.takes != nil {
		e.takes.Observe(owed)
	}
}

// addTake opens a take after which a token bucket owes so much, and returns its number.
func (l *Local) addTake(e *entry, owed int64) uint64 {
	number := l.takes.Add(1)
	if e.takes == nil {
		e.takes = &openTakes{first: number}
	}
	e.takes.Add(number, owed)
	return number
}

// knows reports whether a take was made from this bucket and is open. Number 0 is no
// take.
func (e *entry) knows(number uint64) bool {
	return e != nil && e.takes != nil && number >= e.takes.first
}

// lowest returns the lowest debt since a take.
func (e *entry) lowest(number uint64) (low int64) {
	if e.knows(number) {
		low, _ = e.takes.Lowest(number)
	}
	return low
}

// endTake closes a take.
func (e *entry) endTake(number uint64) {
	if !e.knows(number) {
		return
	}
	if e.takes.End(number); e.takes.Len() == 0 {
		e.takes = nil
	}
}

// endTakes closes all takes of a reservation.
func (sh *shard) endTakes(r *reservation) {
	account := sh.accounts[r.account]
	for i := range r.holds {
		h := &r.holds[i]
		if account != nil && h.Take != 0 {
			find(account.entries, &bucket.Scoped{Limit: h.Limit, Scope: h.Scope}).endTake(h.Take)
		}
		h.Take = 0
	}
}

// giveBack undoes by units of a hold as far as the bucket still owes them, and returns
// how many.
//
// The state stays as of its last touch: the debt is whole there too, and the time since
// then still decays at the slower of two rates if the limit has changed meanwhile.
func (e *entry) giveBack(h *Hold, by int64, now time.Duration) (back int64) {
	if !e.knows(h.Take) {
		return 0
	}
	e.observe(decay(e.state, e.window, now).Units)
	back = e.takes.Lower(h.Take, by)
	e.state.Units -= back
	e.spent -= back
	return back
}

// owe adds units to the debt of a token bucket from now on, up to debtBursts, and
// returns how many.
func (e *entry) owe(l bucket.Limit, units int64, now time.Duration) int64 {
	rate := e.state.Rate
	s := e.state.Decay(l, now)
	s.At = now
	if rate != 0 {
		s.Rate = rate // the limit of the reservation may not be in force any more
	}
	e.observe(s.Units)
	units = min(units, max(0, debtBursts*l.Burst-s.Units))
	e.state = s.Add(units)
	e.spent += units
	return units
}

// restoreTakes makes the open takes of a new owner's buckets. The reservations that have
// moved here with their partition hold the lowest debt since each take. Of others no node
// knows it: they are replayed alone, from an empty bucket at the fastest rate, because
// the bucket owed at least as much at every instant.
func (l *Local) restoreTakes(sh *shard, moved map[string]bool, now time.Duration) {
	for _, account := range sh.accounts {
		for i := range account.entries {
			account.entries[i].takes = nil
		}
	}
	takes := map[*entry][]openHold{}
	for id, r := range sh.reserved {
		account := sh.accounts[r.account]
		for i := range r.holds {
			h := &r.holds[i]
			var e *entry
			if account != nil && h.Limit.Algorithm == bucket.TokenBucket && r.settled == nil {
				e = find(account.entries, &bucket.Scoped{Limit: h.Limit, Scope: h.Scope})
			}
			if e == nil {
				h.Take = 0
				continue
			}
			takes[e] = append(takes[e], openHold{h, r.taken, moved[id] && h.Take != 0})
		}
	}
	for e, list := range takes {
		l.restoreBucket(e, list, now)
	}
}

// openHold is a hold whose take is to be restored.
type openHold struct {
	*Hold
	taken time.Duration
	exact bool // Low is known
}

func (l *Local) restoreBucket(e *entry, list []openHold, now time.Duration) {
	slices.SortFunc(list, func(a, b openHold) int { return cmp.Or(cmp.Compare(a.taken, b.taken), cmp.Compare(a.Take, b.Take)) })
	fastest := bucket.Limit{Limit: max(1, e.state.Rate), Window: e.window}
	for _, h := range list {
		fastest.Limit = max(fastest.Limit, h.Limit.Limit)
	}
	alone := bucket.State{Rate: fastest.Limit, At: list[0].taken}
	var lows bucket.OpenTakes
	for i, h := range list {
		if !h.exact {
			alone = alone.Decay(fastest, h.taken)
			lows.Observe(alone.Units)
			alone = alone.Add(h.Units)
			lows.Add(uint64(i), alone.Units)
		}
	}
	lows.Observe(alone.Decay(fastest, now).Units)
	for i, h := range list {
		if !h.exact {
			h.Low, _ = lows.Lowest(uint64(i))
		}
		h.Take = l.addTake(e, h.Low)
	}
	e.observe(decay(e.state, e.window, now).Units)
}
