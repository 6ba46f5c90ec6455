package limiter

import (
	"time"

	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

// Verdict is what became of an attempt to decide as owner.
type Verdict uint8

// The verdicts: Decided, whatever the decision; NotOwner, this node may not
// decide, because it has no lease or is not the owner; Uncovered, a copy must
// acknowledge first.
const (
	Decided Verdict = iota
	NotOwner
	Uncovered
)

// hot is a bucket whose copies know of it.
type hot struct {
	stream replica.Stream
	wake   chan struct{} // closed when a copy has acknowledged; nil: nobody waits
}

// Statement is a statement with the bucket that it is about.
type Statement struct {
	bucket.ID
	Epoch uint64 // orders the owners of all times
	replica.Statement
}

// Outbox sends statements. It must not block, and is called with a lock held.
type Outbox interface {
	State(s Statement)
}

// Try decides a check as owner, if this node is. After Uncovered, wake is
// closed when it may be worth another try.
func (l *Local) Try(c *bucket.Check, r *bucket.Ruling, d *bucket.Decision) (Verdict, <-chan struct{}) {
	p := l.cluster.Partition(c.Account)
	sh := l.shard(c.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	// The role is read under the lock: who hands over takes every lock once.
	v := l.view.Load()
	_, role, since := v.part(p)
	if role != owner || !l.cluster.Leases.Valid(p, now) {
		return NotOwner, nil
	}
	o := &ownership{l: l, sh: sh, id: bucket.ID{Account: c.Account}, since: since, part: &v.Parts[p], rule: l.cluster.Replication()}
	return o.take(c, r.Limits, d, now)
}

// ownership is one attempt of an owner to decide.
type ownership struct {
	l     *Local
	sh    *shard
	id    bucket.ID // Account
	since uint64
	part  *Part
	rule  bucket.Replication

	others [replica.Copies]string // n successors, once known
	n      int
	known  bool
}

// take decides over all limits, makes sure that a copy knows of all, and then
// commits all or none.
func (o *ownership) take(c *bucket.Check, limits []bucket.Scoped, d *bucket.Decision, now time.Duration) (Verdict, <-chan struct{}) {
	var room [maxLimits]bucket.State
	states := o.l.weigh(o.sh, c, limits, d, room[:0], now)
	if d.Reason == bucket.OK && !c.DryRun {
		if wake := o.cover(c, limits, states); wake != nil {
			return Uncovered, wake
		}
	}
	o.l.commit(o.sh, c, limits, d, states)
	if !c.DryRun {
		for i := range limits {
			if h := o.hot(&limits[i]); h != nil && d.Reason == bucket.OK {
				h.stream.Took(c.Cost(limits[i].Unit))
			}
			o.state(&limits[i], states[i], 0)
		}
	}
	return Decided, nil
}

// successors returns who keeps copies.
func (o *ownership) successors() []string {
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

// cover returns nil when copies know enough for every limit. Else it has stated
// what they lack, and returns what is closed when one has answered.
func (o *ownership) cover(c *bucket.Check, limits []bucket.Scoped, states []bucket.State) <-chan struct{} {
	var wake chan struct{}
	for i := range limits {
		l := &limits[i]
		cost := c.Cost(l.Unit)
		if cost == 0 {
			continue
		}
		use := o.use(l, states[i])
		h := o.hot(l)
		var s *replica.Stream
		if h != nil {
			s = &h.stream
		}
		if s.Covered(o.rule, l.Limit, use, cost, o.successors()) {
			continue
		}
		h = o.heat(l)
		o.send(l, h.stream.State(o.rule, l.Limit, use, o.spent(l), cost, o.successors(), o.l.number))
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

// state states a bucket that has passed what its copies know.
func (o *ownership) state(l *bucket.Scoped, use bucket.State, cost int64) {
	h := o.hot(l)
	if h == nil {
		if len(o.successors()) == 0 || !replica.Due(o.rule, l.Limit, use, o.spent(l)) {
			return
		}
		h = o.heat(l)
	}
	o.send(l, h.stream.State(o.rule, l.Limit, o.use(l, use), o.spent(l), cost, o.successors(), o.l.number))
}

// spent returns the units ever taken of a bucket.
func (o *ownership) spent(l *bucket.Scoped) int64 {
	if e := o.entry(l); e != nil {
		return e.spent
	}
	return 0
}

func (o *ownership) entry(l *bucket.Scoped) *entry {
	if account := o.sh.accounts[o.id.Account]; account != nil {
		return find(account.entries, l)
	}
	return nil
}

// empty is no window's use. It is not changed.
var empty bucket.Window

// use returns what is used of a bucket, with the sliding window as it is.
func (o *ownership) use(l *bucket.Scoped, s bucket.State) replica.Use {
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

func (o *ownership) send(l *bucket.Scoped, out []replica.Statement) {
	for _, s := range out {
		o.l.cluster.Outbox.State(Statement{ID: o.name(l), Epoch: o.since, Statement: s})
	}
}

// name returns the bucket's id with strings that are nobody else's.
func (o *ownership) name(l *bucket.Scoped) bucket.ID { return clone(idOf(o.id.Account, l)) }

func (o *ownership) hot(l *bucket.Scoped) *hot {
	if len(o.sh.hot) == 0 {
		return nil
	}
	return o.sh.hot[idOf(o.id.Account, l)]
}

func (o *ownership) heat(l *bucket.Scoped) *hot { return o.l.heat(o.sh, idOf(o.id.Account, l)) }

// heat returns what is kept of a bucket that copies know of.
func (l *Local) heat(sh *shard, id bucket.ID) *hot {
	h := sh.hot[id]
	if h == nil {
		h = &hot{}
		h.stream.Begin(l.sources.Add(1))
		if sh.hot == nil {
			sh.hot = map[bucket.ID]*hot{}
		}
		sh.hot[clone(id)] = h
	}
	return h
}

// Acked notes that a copy has taken a statement over.
func (l *Local) Acked(id bucket.ID, node string, seq uint64) {
	sh := l.shard(id.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	h := sh.hot[id]
	if h == nil {
		return
	}
	h.stream.Acked(node, seq)
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

// number returns the number of the next statement.
func (l *Local) number() uint64 { return l.sequence.Add(1) }

// Acknowledged calls fn with what this owner of a partition goes by of its
// copies: the successor owes at least so much of the bucket now, if it has not
// restarted.
func (l *Local) Acknowledged(p int, fn func(id bucket.ID, node string, least bucket.State)) {
	sh := &l.parts[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l.role(p) != owner {
		return
	}
	now := l.now()
	for id, h := range sh.hot {
		h.stream.Least(id.Window, now, func(node string, least bucket.State) { fn(id, node, least) })
	}
}
