package limiter

import (
	"time"

	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

// fallback is what this node knows of a bucket that it does not own, and what it has
// admitted of it in the place of the owner.
type fallback struct {
	limit  bucket.Limit // at the last decision or report
	mine   *replica.Fallback
	others []receivedUsage // of other fallback nodes
}

// receivedUsage is the usage of another fallback node, and when it arrived.
type receivedUsage struct {
	replica.FallbackUsage
	at time.Duration
}

// usages returns all usage that is known, as it is at now.
func (j *fallback) usages(now time.Duration) []replica.FallbackUsage {
	if j == nil {
		return nil
	}
	var out []replica.FallbackUsage
	for _, r := range j.others {
		out = append(out, r.Aged(j.limit, now-r.at))
	}
	if j.mine != nil {
		if r, ok := j.mine.Usage(now); ok {
			out = append(out, r)
		}
	}
	return out
}

// DecideFallback decides a check in the place of an owner that cannot be reached: as a
// fallback node, or as the policy says if no majority can be reached either. ok is
// false if this node may not decide.
func (l *Local) DecideFallback(c *bucket.Check, r *bucket.Ruling, d *bucket.Decision) (ok bool) {
	v := l.view.Load()
	if v == nil {
		return false
	}
	rule := l.cfg.Replication()
	// Called without the lock: the answer may wait for an Adopt that needs it.
	cut := !l.cfg.Leases.Majority()
	if cut && rule.CutOff == bucket.Deny {
		return false
	}
	sh := l.shard(c.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	a := &fallbackAttempt{l: l, sh: sh, now: now, cut: cut, rule: rule, nodes: max(1, v.Nodes), sharers: 1}
	// The owner decides here if no copy answers, the first successor if the owner does
	// not. Any other node may be one of many that decide.
	if part, _, _ := v.part(l.cfg.Partition(c.Account)); part.Holders[0] != l.node && part.Holders[1] != l.node {
		a.sharers = max(1, a.nodes-1)
	}
	a.decide(c, r.Limits, d)
	return true
}

// fallbackAttempt is one check at a fallback node.
type fallbackAttempt struct {
	l       *Local
	sh      *shard
	now     time.Duration
	cut     bool
	rule    bucket.Replication
	nodes   int64
	sharers int64 // how many nodes share one fallback's part
}

func (a *fallbackAttempt) decide(c *bucket.Check, limits []bucket.Scoped, d *bucket.Decision) {
	var room [maxLimits]*fallback
	var seen [maxLimits]replica.FallbackBucket
	parts, looks := room[:0], seen[:0]
	for i := range limits {
		l := &limits[i]
		part := a.l.ownFallback(a.sh, idOf(c.Account, l))
		part.limit = l.Limit
		parts = append(parts, part)
		k := a.l.snapshot(a.sh, idOf(c.Account, l), a.now)
		see := k.State
		look := replica.FallbackBucket{Limit: l.Limit, Copy: see, Pending: replica.Pending(part.usages(a.now), k.Absorbed), Nodes: a.nodes, Sharers: a.sharers, Fork: k.fork}
		all := a.slide(part, &k, &look)
		looks = append(looks, look)
		cost := c.Cost(l.Unit)
		if !a.fits(part.mine, look, cost) {
			d.Reason, d.NeverFits = bucket.RateLimited, d.NeverFits || cost > l.Burst
			wait := max(waitFor(all, &look, cost), part.mine.Wait(look, a.cut, cost, a.now))
			if wait > d.RetryAfter {
				d.RetryAfter, d.Hit = wait, i
			}
		}
		d.Limits = append(d.Limits, statusOf(all, &look, l))
	}
	if d.NeverFits {
		d.RetryAfter = 0
	}
	if d.Reason != bucket.OK || c.DryRun {
		return
	}
	for i := range limits {
		if cost := c.Cost(limits[i].Unit); cost > 0 {
			a.l.FallbackUnits.Add(uint64(cost))
			a.admit(parts[i].mine, looks[i], cost)
			d.Limits[i].Remaining = max(0, d.Limits[i].Remaining-cost)
		}
	}
}

func (a *fallbackAttempt) fits(s *replica.Fallback, look replica.FallbackBucket, cost int64) bool {
	switch {
	case !a.cut:
		return s.Fits(look, cost, a.now)
	case a.rule.CutOff == bucket.Full:
		return look.Copy.Add(look.Pending).Room(look.Limit, cost)
	}
	return s.ShareFits(look, cost, a.now)
}

func (a *fallbackAttempt) admit(s *replica.Fallback, look replica.FallbackBucket, cost int64) {
	switch {
	case !a.cut:
		s.Admit(look, cost, a.now)
	case a.rule.CutOff == bucket.Full:
		s.AdmitFull(look, cost, a.now)
	default:
		s.AdmitShare(look, cost, a.now)
	}
}

// ownFallback returns the fallback of a bucket, with a part of this node's own.
func (l *Local) ownFallback(sh *shard, id bucket.ID) *fallback {
	j := l.fallbackOf(sh, id)
	if j.mine == nil {
		j.mine = replica.NewFallback(l.sources.Add(1))
	}
	return j
}

func (l *Local) fallbackOf(sh *shard, id bucket.ID) *fallback {
	j := sh.fallbacks[id]
	if j == nil {
		if sh.fallbacks == nil {
			sh.fallbacks = map[bucket.ID]*fallback{}
		}
		j = &fallback{limit: id.Limit()}
		sh.fallbacks[clone(id)] = j
	}
	return j
}

// FallbackUsage is what a fallback node has admitted of one bucket, on its way to the
// holders.
type FallbackUsage struct {
	bucket.ID
	Limit bucket.Limit
	replica.FallbackUsage
}

// FallbackUsages returns what this node has admitted as a fallback node and the owners
// have not absorbed yet.
func (l *Local) FallbackUsages() []FallbackUsage {
	var out []FallbackUsage
	for i := range l.parts {
		sh := &l.parts[i]
		sh.mu.Lock()
		now := l.now()
		for id, j := range sh.fallbacks {
			if j.mine == nil {
				continue
			}
			if r, ok := j.mine.Usage(now); ok {
				out = append(out, FallbackUsage{ID: id, Limit: j.limit, FallbackUsage: r})
			}
		}
		out = append(out, l.formerOwnerUsages(sh, now)...)
		sh.mu.Unlock()
	}
	return out
}

// formerOwnerUsages returns what this node admitted as the owner of buckets that it no
// longer owns, and that their owners do not know.
func (l *Local) formerOwnerUsages(sh *shard, now time.Duration) (out []FallbackUsage) {
	for id, h := range sh.tracked {
		if _, role, _ := l.view.Load().part(l.cfg.Partition(id.Account)); role != remote {
			continue
		}
		e := l.entry(sh, id)
		if r, ok := h.stream.FormerOwnerUsage(e.state.Units, e.spent, now-e.state.At); ok && e.state.Rate > 0 {
			limit := id.Limit()
			limit.Limit, limit.Burst = e.state.Rate, e.state.Rate
			if e.sliding != nil {
				r.Sliding = e.sliding.Newest(r.Units).Relative(limit, now)
			}
			out = append(out, FallbackUsage{ID: id, Limit: limit, FallbackUsage: r})
		}
	}
	return out
}

// ReceiveUsage takes the usage of a fallback node, possibly of this one, and returns
// how much of it the owner has absorbed as far as this node knows. The owner absorbs
// it.
func (l *Local) ReceiveUsage(t FallbackUsage) int64 {
	sh := l.shard(t.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	p := l.cfg.Partition(t.Account)
	// Without a lease another node may own it by now, and would never hear of the usage.
	v := l.view.Load()
	if _, role, since := v.part(p); role == owner && l.cfg.Leases.Valid(p, now) {
		o := &ownerAttempt{l: l, sh: sh, id: bucket.ID{Account: t.Account}, since: since, part: &v.Parts[p], rule: l.cfg.Replication()}
		o.absorb(t, now)
		return t.Units
	}
	j := l.fallbackOf(sh, t.ID)
	j.limit = t.Limit
	j.record(t.FallbackUsage, now)
	if c := sh.copies[t.ID]; c != nil {
		return replica.UnitsOf(c.Absorbed, t.Source)
	}
	return 0
}

// record replaces what was known of a source. This node's own usage comes back from
// others and is ignored.
func (j *fallback) record(r replica.FallbackUsage, now time.Duration) {
	if j.mine != nil && j.mine.Source == r.Source {
		return
	}
	for i := range j.others {
		if j.others[i].Source == r.Source {
			if r.Units >= j.others[i].Units {
				j.others[i] = receivedUsage{r, now}
			}
			return
		}
	}
	j.others = append(j.others, receivedUsage{r, now})
	j.others = j.others[max(0, len(j.others)-replica.MaxSources+1):] // and its own one
}

// MarkAbsorbed notes how much of this node's own usage the owner has absorbed.
func (l *Local) MarkAbsorbed(t FallbackUsage, units int64) {
	sh := l.shard(t.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if j := sh.fallbacks[t.ID]; j != nil && j.mine != nil && j.mine.Source == t.Source {
		j.mine.MarkAbsorbed(units)
	}
	if h := sh.tracked[t.ID]; h != nil {
		h.stream.MarkAbsorbed(t.Source, units)
	}
}

// absorb adds the usage of a fallback node to the owner's bucket.
func (o *ownerAttempt) absorb(t FallbackUsage, now time.Duration) {
	l := bucket.Scoped{Limit: t.Limit, Scope: t.Scope}
	left := o.l.entry(o.sh, t.ID)
	own := replica.OwnedBucket{Limit: t.Limit, Use: left.state.Decay(t.Limit, now), Empty: replica.Empty(left.state, t.Window, now), Spent: left.spent}
	own.Use.At = now
	if t.Algorithm == bucket.SlidingWindow {
		w := left.slid()
		own.Window = &w
	}
	h := o.track(&l)
	use, missing := h.stream.Absorb(own, t.FallbackUsage)
	if missing == 0 {
		return
	}
	o.l.AbsorbedUnits.Add(uint64(missing))
	left.observe(own.Use.Units)
	o.l.setEntry(o.sh, t.ID, entry{state: use, spent: left.spent + missing, sliding: own.Window})
	o.publish(&l, use, 0)
}
