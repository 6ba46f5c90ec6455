package limiter

import (
	"time"

	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

// Sweep drops what nothing depends on: buckets that owe nothing, copies and fallback
// usage of such, and reservations that can no longer be settled. It holds the lock of
// one shard at a time.
func (l *Local) Sweep() {
	v := l.view.Load()
	nodes := int64(1)
	if v != nil {
		nodes = max(1, v.Nodes)
	}
	for i := range l.parts {
		sh := &l.parts[i]
		sh.mu.Lock()
		now := l.now()
		l.expire(sh, now)
		_, role, _ := v.part(i)
		// A node that may no longer be the owner must report what it took, even if nothing
		// of it is left here: the next owner's bucket has decayed as well.
		mine := role == owner && l.cfg.Leases.Valid(i, now)
		sh.sweepAccounts(mine, now)
		sh.sweepReplicas(nodes, now)
		sh.mu.Unlock()
	}
}

func (sh *shard) sweepAccounts(mine bool, now time.Duration) {
	for id, account := range sh.accounts {
		kept := account.entries[:0]
		for _, e := range account.entries {
			if !e.idle(now) || !mine && sh.unreported(id, &e, now) {
				kept = append(kept, e)
			}
		}
		clear(account.entries[len(kept):])
		if account.entries = kept; len(kept) == 0 {
			delete(sh.accounts, id)
		}
	}
}

// unreported reports whether use of a bucket is still to be reported to the next
// owner.
func (sh *shard) unreported(account string, e *entry, now time.Duration) bool {
	if len(sh.tracked) == 0 || now-e.state.At > replica.RememberFor {
		return false
	}
	h := sh.tracked[e.id(account)]
	return h != nil && h.stream.HasUnabsorbed()
}

func (sh *shard) sweepReplicas(nodes int64, now time.Duration) {
	for id, h := range sh.tracked {
		if h.stream.Idle(id.Window, now) && sh.find(id) == nil {
			delete(sh.tracked, id)
		}
	}
	for id, c := range sh.copies {
		if c.Idle(id.Window, now) && (len(c.Absorbed) == 0 || now-c.State.At > replica.RememberFor) {
			delete(sh.copies, id)
		}
	}
	for id, j := range sh.fallbacks {
		kept := j.others[:0]
		for _, r := range j.others {
			if now-r.at <= replica.RememberFor {
				kept = append(kept, r)
			}
		}
		j.others = kept
		if len(kept) == 0 && (j.mine == nil || j.mine.Idle(replica.FallbackBucket{Limit: j.limit, Nodes: nodes, Sharers: 1}, now)) {
			delete(sh.fallbacks, id)
		}
	}
}

// find returns the bucket with an id, or nil.
func (sh *shard) find(id bucket.ID) *entry {
	if account := sh.accounts[id.Account]; account != nil {
		return find(account.entries, scopedOf(id))
	}
	return nil
}

// id returns the bucket's id.
func (e *entry) id(account string) bucket.ID {
	id := bucket.ID{Account: account, Scope: e.scope, Unit: e.unit, Window: e.window}
	if e.sliding != nil {
		id.Algorithm = bucket.SlidingWindow
	}
	return id
}

// idle reports whether nothing is owed at now.
func (e *entry) idle(now time.Duration) bool {
	if e.sliding != nil {
		return e.sliding.Use(bucket.Limit{Window: e.window}, now) == 0
	}
	// The rate of the last touch is all that is known here: after a limit was lowered
	// the bucket is dropped as soon as it would have been empty by the old one.
	lim := bucket.Limit{Limit: max(1, e.state.Rate), Window: e.window}
	return e.state.Decay(lim, now).Idle()
}
