package limiter

import (
	"time"

	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

// tracked is a bucket that is published to copies.
type tracked struct {
	stream replica.Stream
	wake   chan struct{} // closed when a copy has acknowledged; nil: no check waits
}

// UsageBound is the usage bound of one bucket.
type UsageBound struct {
	bucket.ID
	Origin replica.OriginEpoch
	replica.UsageBound
}

// Outbox sends usage bounds. Publish must not block: it is called with a lock held.
type Outbox interface {
	Publish(s UsageBound)
}

// Try decides a check if this node is the owner. Its outcomes are Decided, NotOwner
// and Unreplicated; after Unreplicated, wake is closed when a copy has acknowledged.
func (l *Local) Try(c *bucket.Check, r *bucket.Ruling, d *bucket.Decision) (Outcome, <-chan struct{}) {
	p := l.cfg.Partition(c.Account)
	sh := l.shard(c.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	// The role is read under the lock: an export takes it after the role has changed.
	v := l.view.Load()
	_, role, since := v.part(p)
	if role != owner || !l.cfg.Leases.Valid(p, now) {
		return NotOwner, nil
	}
	o := &ownerAttempt{l: l, sh: sh, id: bucket.ID{Account: c.Account}, since: since, part: &v.Parts[p], rule: l.cfg.Replication()}
	return o.take(c, r.Limits, d, now)
}

// ownerAttempt is one attempt of an owner to decide.
type ownerAttempt struct {
	l     *Local
	sh    *shard
	id    bucket.ID // Account
	since replica.OriginEpoch
	part  *Part
	rule  bucket.Replication

	others [replica.Copies]string // the first n are the successors, if known
	n      int
	known  bool
}

// take decides over all limits, ensures that a copy covers each, and then commits all
// or none.
func (o *ownerAttempt) take(c *bucket.Check, limits []bucket.Scoped, d *bucket.Decision, now time.Duration) (Outcome, <-chan struct{}) {
	var room [maxLimits]bucket.State
	states := o.l.evaluate(o.sh, c, limits, d, room[:0], now)
	if d.Reason == bucket.OK && !c.DryRun {
		if wake := o.ensureReplicated(c, limits, states); wake != nil {
			return Unreplicated, wake
		}
	}
	o.l.commit(o.sh, c, limits, d, states)
	if !c.DryRun {
		for i := range limits {
			if h := o.tracked(&limits[i]); h != nil && d.Reason == bucket.OK {
				h.stream.Admitted(c.Cost(limits[i].Unit))
			}
			o.publish(&limits[i], states[i], 0)
		}
	}
	return Decided, nil
}

// successors returns the nodes that keep copies.
func (o *ownerAttempt) successors() []string {
	if o.known {
		return o.others[:o.n]
	}
	o.known = true
	o.others = o.part.copies(o.l.node)
	for o.n < len(o.others) && o.others[o.n] != "" {
		o.n++
	}
	return o.others[:o.n]
}

// ensureReplicated returns nil if the copies cover the check in every limit. Otherwise
// it has published what they lack, and returns a channel that is closed when one has
// acknowledged.
func (o *ownerAttempt) ensureReplicated(c *bucket.Check, limits []bucket.Scoped, states []bucket.State) <-chan struct{} {
	var wake chan struct{}
	for i := range limits {
		l := &limits[i]
		cost := c.Cost(l.Unit)
		if cost == 0 {
			continue
		}
		use := o.use(l, states[i])
		h := o.tracked(l)
		var s *replica.Stream
		if h != nil {
			s = &h.stream
		}
		if s.Replicated(o.rule, l.Limit, use, cost, o.successors()) {
			continue
		}
		h = o.track(l)
		o.send(h, l, use, cost)
		if wake == nil {
			if h.wake == nil {
				h.wake = make(chan struct{})
			}
			wake = h.wake
		}
	}
	if wake == nil {
		return nil
	}
	return wake
}

// publish publishes a bucket if its use has passed the bound that the copies know.
func (o *ownerAttempt) publish(l *bucket.Scoped, use bucket.State, cost int64) {
	h := o.tracked(l)
	if h == nil {
		if len(o.successors()) == 0 || !replica.Due(o.rule, l.Limit, use, o.spent(l)) {
			return
		}
		h = o.track(l)
	}
	o.send(h, l, o.use(l, use), cost)
}

// spent returns the units ever taken from a bucket.
func (o *ownerAttempt) spent(l *bucket.Scoped) int64 {
	if e := o.entry(l); e != nil {
		return e.spent
	}
	return 0
}

func (o *ownerAttempt) entry(l *bucket.Scoped) *entry {
	if account := o.sh.accounts[o.id.Account]; account != nil {
		return find(account.entries, l)
	}
	return nil
}

// empty is the window of a bucket that holds nothing. Nothing writes to it: the
// readers of a Window change nothing.
var empty bucket.Window

// use returns the use of a bucket. A sliding window is not copied.
func (o *ownerAttempt) use(l *bucket.Scoped, s bucket.State) replica.Use {
	use := replica.Use{State: s}
	if l.Algorithm != bucket.SlidingWindow {
		return use
	}
	use.Window = &empty
	if e := o.entry(l); e != nil {
		use.Window = e.sliding
	}
	return use
}

// send sends the usage bounds of a bucket that are due.
func (o *ownerAttempt) send(h *tracked, l *bucket.Scoped, use replica.Use, cost int64) {
	p := replica.Publication{Rule: o.rule, Limit: l.Limit, Use: use, Spent: o.spent(l), Cost: cost, Successors: o.successors(), Next: o.l.nextSeq}
	for _, b := range h.stream.Publish(&p) {
		o.l.cfg.Outbox.Publish(UsageBound{ID: o.bucketID(l), Origin: o.since, UsageBound: b})
	}
}

// bucketID returns the bucket's id with strings of its own.
func (o *ownerAttempt) bucketID(l *bucket.Scoped) bucket.ID { return clone(idOf(o.id.Account, l)) }

func (o *ownerAttempt) tracked(l *bucket.Scoped) *tracked {
	if len(o.sh.tracked) == 0 {
		return nil
	}
	return o.sh.tracked[idOf(o.id.Account, l)]
}

func (o *ownerAttempt) track(l *bucket.Scoped) *tracked {
	return o.l.track(o.sh, idOf(o.id.Account, l))
}

// track returns what is kept of a bucket that is published, and begins to keep it.
func (l *Local) track(sh *shard, id bucket.ID) *tracked {
	h := sh.tracked[id]
	if h == nil {
		h = &tracked{}
		h.stream.Begin(l.sources.Add(1))
		if sh.tracked == nil {
			sh.tracked = map[bucket.ID]*tracked{}
		}
		sh.tracked[clone(id)] = h
	}
	return h
}

// Acked notes that a copy holds a usage bound, and wakes the checks that wait for it.
func (l *Local) Acked(id bucket.ID, node string, seq uint64) {
	sh := l.shard(id.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	h := sh.tracked[id]
	if h == nil {
		return
	}
	h.stream.Acked(node, seq)
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

// nextSeq returns the number of the next usage bound.
func (l *Local) nextSeq() uint64 { return l.sequence.Add(1) }

// LowerBounds calls fn with what this owner of a partition assumes of its copies: each
// holds at least that much use of the bucket now, if the node has not restarted. Of a
// sliding window it is what still counts in a while, as later returns: a clock that is
// fast lets go of a unit that much earlier.
func (l *Local) LowerBounds(p int, later func(window time.Duration) time.Duration, fn func(id bucket.ID, node string, least bucket.State)) {
	sh := &l.parts[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l.role(p) != owner {
		return
	}
	for id, h := range sh.tracked {
		now := l.now()
		if id.Algorithm == bucket.SlidingWindow {
			now += later(id.Window)
		}
		h.stream.LowerBounds(id.Window, now, func(node string, least bucket.State) { fn(id, node, least) })
	}
}
