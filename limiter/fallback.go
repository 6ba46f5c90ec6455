package limiter

import (
	"time"

	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

// judged is what this node knows, and has done, as a judge of a bucket that it
// does not own.
type judged struct {
	limit   bucket.Limit // as it was judged by last
	mine    *replica.StandIn
	reports []report // of other judges
}

// report is another judge's count and when it came.
type report struct {
	replica.Report
	at time.Duration
}

// at returns the reports as they are at now.
func (j *judged) at(now time.Duration) []replica.Report {
	if j == nil {
		return nil
	}
	var out []replica.Report
	for _, r := range j.reports {
		out = append(out, r.Aged(j.limit, now-r.at))
	}
	if j.mine != nil {
		if r, ok := j.mine.Report(now); ok {
			out = append(out, r)
		}
	}
	return out
}

// Judge decides a check though this node is not its owner, because nobody can
// reach him: as a stand-in, or when a majority is out of reach too as the
// policy says. ok is false where it may not.
func (l *Local) Judge(c *bucket.Check, r *bucket.Ruling, d *bucket.Decision) (ok bool) {
	v := l.view.Load()
	if v == nil {
		return false
	}
	rule := l.cluster.Replication()
	// Asked without the lock: whoever answers may be waiting for it, to adopt a map.
	cut := !l.cluster.Leases.Majority(l.now())
	if cut && rule.CutOff == bucket.Deny {
		return false
	}
	sh := l.shard(c.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	a := &judgement{l: l, sh: sh, now: now, cut: cut, rule: rule, nodes: max(1, v.Nodes), among: 1}
	// The owner judges where no copy answers, the first successor in his place.
	// Anyone else who is asked may be one of many.
	if part, _, _ := v.part(l.cluster.Partition(c.Account)); part.Holders[0] != l.node && part.Holders[1] != l.node {
		a.among = max(1, a.nodes-1)
	}
	a.decide(c, r.Limits, d)
	return true
}

// judgement is one check as a judge sees it.
type judgement struct {
	l     *Local
	sh    *shard
	now   time.Duration
	cut   bool
	rule  bucket.Replication
	nodes int64
	among int64 // who share a stand-in's part
}

func (a *judgement) decide(c *bucket.Check, limits []bucket.Scoped, d *bucket.Decision) {
	var room [maxLimits]*judged
	var seen [maxLimits]replica.Judged
	parts, looks := room[:0], seen[:0]
	for i := range limits {
		l := &limits[i]
		part := a.l.judge(a.sh, idOf(c.Account, l))
		part.limit = l.Limit
		parts = append(parts, part)
		k := a.l.known(a.sh, idOf(c.Account, l), a.now)
		see := k.State
		look := replica.Judged{Limit: l.Limit, Copy: see, Pending: replica.Pending(part.at(a.now), k.Absorbed), Nodes: a.nodes, Among: a.among, Fork: k.fork}
		all := a.slide(part, &k, &look)
		looks = append(looks, look)
		cost := c.Cost(l.Unit)
		if !a.room(part.mine, look, cost) {
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
			a.l.Judged.Add(uint64(cost))
			a.admit(parts[i].mine, looks[i], cost)
			d.Limits[i].Remaining = max(0, d.Limits[i].Remaining-cost)
		}
	}
}

func (a *judgement) room(s *replica.StandIn, look replica.Judged, cost int64) bool {
	switch {
	case !a.cut:
		return s.Stand(look, cost, a.now)
	case a.rule.CutOff == bucket.Full:
		return look.Copy.Add(look.Pending).Room(look.Limit, cost)
	}
	return s.Share(look, cost, a.now)
}

func (a *judgement) admit(s *replica.StandIn, look replica.Judged, cost int64) {
	switch {
	case !a.cut:
		s.Admit(look, cost, a.now)
	case a.rule.CutOff == bucket.Full:
		s.AdmitFull(look, cost, a.now)
	default:
		s.AdmitShare(look, cost, a.now)
	}
}

// judge returns this node's part in judging a bucket.
func (l *Local) judge(sh *shard, id bucket.ID) *judged {
	j := l.heard(sh, id)
	if j.mine == nil {
		j.mine = replica.NewStandIn(l.sources.Add(1))
	}
	return j
}

func (l *Local) heard(sh *shard, id bucket.ID) *judged {
	j := sh.judged[id]
	if j == nil {
		if sh.judged == nil {
			sh.judged = map[bucket.ID]*judged{}
		}
		j = &judged{limit: id.Limit()}
		sh.judged[clone(id)] = j
	}
	return j
}

// Tally is a judge's count on its way.
type Tally struct {
	bucket.ID
	Limit bucket.Limit
	replica.Report
}

// Tallies returns what this node has admitted as a judge and the owners have
// not absorbed yet.
func (l *Local) Tallies() []Tally {
	var out []Tally
	for i := range l.parts {
		sh := &l.parts[i]
		sh.mu.Lock()
		now := l.now()
		for id, j := range sh.judged {
			if j.mine == nil {
				continue
			}
			if r, ok := j.mine.Report(now); ok {
				out = append(out, Tally{ID: id, Limit: j.limit, Report: r})
			}
		}
		out = append(out, l.left(sh, now)...)
		sh.mu.Unlock()
	}
	return out
}

// left returns what this node admitted as the owner of buckets that it owns no
// more, and their owners do not know.
func (l *Local) left(sh *shard, now time.Duration) (out []Tally) {
	for id, h := range sh.hot {
		if _, role, _ := l.view.Load().part(l.cluster.Partition(id.Account)); role != stranger {
			continue
		}
		e := l.entry(sh, id)
		if r, ok := h.stream.Left(e.state.Units, e.spent, now-e.state.At); ok && e.state.Rate > 0 {
			limit := id.Limit()
			limit.Limit, limit.Burst = e.state.Rate, e.state.Rate
			if e.sliding != nil {
				r.Sliding = e.sliding.Newest(r.Units).Sent(limit, now)
			}
			out = append(out, Tally{ID: id, Limit: limit, Report: r})
		}
	}
	return out
}

// Hear takes another judge's tally, or this node's own, and returns how much of
// it the owner has absorbed as far as this node knows. An owner absorbs it.
func (l *Local) Hear(t Tally) int64 {
	sh := l.shard(t.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	p := l.cluster.Partition(t.Account)
	// Without a lease somebody else may own it by now: it would absorb for nobody.
	v := l.view.Load()
	if _, role, since := v.part(p); role == owner && l.cluster.Leases.Valid(p, now) {
		o := &ownership{l: l, sh: sh, id: bucket.ID{Account: t.Account}, since: since, part: &v.Parts[p], rule: l.cluster.Replication()}
		o.absorb(t, now)
		return t.Units
	}
	j := l.heard(sh, t.ID)
	j.limit = t.Limit
	j.put(t.Report, now)
	if c := sh.copies[t.ID]; c != nil {
		return replica.Known(c.Absorbed, t.Source)
	}
	return 0
}

// put replaces what was known of the source's count. This node's own comes back
// from others.
func (j *judged) put(r replica.Report, now time.Duration) {
	if j.mine != nil && j.mine.Source == r.Source {
		return
	}
	for i := range j.reports {
		if j.reports[i].Source == r.Source {
			if r.Units >= j.reports[i].Units {
				j.reports[i] = report{r, now}
			}
			return
		}
	}
	j.reports = append(j.reports, report{r, now})
	j.reports = j.reports[max(0, len(j.reports)-replica.MaxSources+1):] // and its own
}

// Absorbed notes how much of a count of this node's own the owner has absorbed.
func (l *Local) Absorbed(t Tally, units int64) {
	sh := l.shard(t.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if j := sh.judged[t.ID]; j != nil && j.mine != nil && j.mine.Source == t.Source {
		j.mine.Absorbed(units)
	}
	if h := sh.hot[t.ID]; h != nil {
		h.stream.Told(t.Source, units)
	}
}

// absorb adds a judge's tally to the owner's bucket.
func (o *ownership) absorb(t Tally, now time.Duration) {
	l := bucket.Scoped{Limit: t.Limit, Scope: t.Scope}
	left := o.l.entry(o.sh, t.ID)
	own := replica.Owned{Limit: t.Limit, Use: left.state.Decay(t.Limit, now), Empty: replica.Empty(left.state, t.Window, now), Spent: left.spent}
	own.Use.At = now
	if t.Algorithm == bucket.SlidingWindow {
		w := left.slid()
		own.Window = &w
	}
	h := o.heat(&l)
	use, missing := h.stream.Absorb(own, t.Report)
	if missing == 0 {
		return
	}
	o.l.Absorption.Add(uint64(missing))
	o.l.setEntry(o.sh, t.ID, entry{state: use, spent: left.spent + missing, sliding: own.Window})
	o.state(&l, use, 0)
}
