package limiter

import (
	"strings"
	"time"

	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

func clone(id bucket.ID) bucket.ID {
	id.Account, id.Scope = strings.Clone(id.Account), strings.Clone(id.Scope)
	return id
}

// entry returns a bucket as it was touched last.
func (l *Local) entry(sh *shard, id bucket.ID) entry {
	if e := sh.find(id); e != nil {
		return *e
	}
	return entry{}
}

func scopedOf(id bucket.ID) *bucket.Scoped {
	return &bucket.Scoped{Limit: id.Limit(), Scope: id.Scope}
}

// setEntry stores the state, or the window, and the total of a bucket. Its open takes
// stay: what is added to a debt gives nothing back.
func (l *Local) setEntry(sh *shard, id bucket.ID, e entry) {
	account := sh.accounts[id.Account]
	if account == nil {
		account = &accountBuckets{}
		sh.addAccount(strings.Clone(id.Account), account)
	}
	s := scopedOf(id)
	s.Scope = strings.Clone(id.Scope)
	at := find(account.entries, s)
	if at == nil {
		account.entries = append(account.entries, newEntry(s))
		at = &account.entries[len(account.entries)-1]
	}
	at.state, at.spent = e.state, e.spent
	if at.sliding != nil {
		at.state.Units, at.state.Frac = 0, 0
		*at.sliding = e.slid()
	}
}

// slid returns the window, empty for a token bucket.
func (e *entry) slid() (w bucket.Window) {
	if e.sliding != nil {
		w = *e.sliding
	}
	return w
}

// snapshot returns all that this node knows of a bucket at now: from the time when it
// owned it, and from its copy.
func (l *Local) snapshot(sh *shard, id bucket.ID, now time.Duration) BucketSnapshot {
	left := l.entry(sh, id)
	k := BucketSnapshot{
		ID: id, State: decay(left.state, id.Window, now), Empty: replica.Empty(left.state, id.Window, now), Spent: left.spent,
		fork: replica.Fork{Spent: -1},
	}
	if left.spent > 0 {
		k.fork = replica.Fork{Spent: left.spent, Units: left.state.Units, Age: now - left.state.At}
	}
	if h := sh.tracked[id]; h != nil {
		k.Absorbed = h.stream.Absorbed()
	}
	if id.Algorithm == bucket.SlidingWindow {
		k.Sliding = sh.window(id, left.slid(), now).Relative(id.Limit(), now)
	}
	if c := sh.copies[id]; c != nil {
		k.State = replica.Larger(k.State, decay(c.State, id.Window, now))
		k.Empty = min(k.Empty, replica.Empty(c.State, id.Window, now))
		k.Absorbed = replica.Union(k.Absorbed, c.Absorbed)
		if c.Spent >= k.Spent {
			k.Spent, k.fork = c.Spent, replica.Fork{Spent: c.Spent, Units: c.State.Units, Age: now - c.State.At}
		}
	}
	k.State.At = now
	return k
}

// window returns a sliding window at now: the larger of this node's own and its copy.
func (sh *shard) window(id bucket.ID, left bucket.Window, now time.Duration) bucket.Window {
	w := left.At(id.Limit(), now)
	if c := sh.copies[id]; c != nil && c.Sliding != nil {
		w = w.Larger(c.Sliding.At(id.Limit(), now))
	}
	return w
}

// decay returns a state at now, by the rate of its last touch, which it keeps: that of a
// bucket that was never touched is 0.
func decay(s bucket.State, window, now time.Duration) bucket.State {
	rate := s.Rate
	s = s.Decay(bucket.Limit{Limit: max(1, rate), Window: window}, now)
	s.Rate = rate
	return s
}

// StoreBound stores a usage bound in the copy of its bucket. It returns false if the
// sender is no longer the owner as far as this node knows.
func (l *Local) StoreBound(s UsageBound) (ok bool) {
	sh := l.shard(s.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, role, since := l.view.Load().part(l.cfg.Partition(s.Account)); role == owner && s.Origin <= since {
		return false
	}
	c := sh.copies[s.ID]
	if c == nil {
		if sh.copies == nil {
			sh.copies = map[bucket.ID]*replica.Copy{}
		}
		c = &replica.Copy{}
		sh.copies[clone(s.ID)] = c
	}
	c.Apply(replica.Version{Origin: s.Origin, Seq: s.Seq}, s.UsageBound, l.now())
	return c.Origin <= s.Origin
}

// BucketSnapshot is what one node knows of one bucket, on its way to the next owner.
type BucketSnapshot struct {
	bucket.ID
	State    bucket.State   // At has no meaning at another node
	Sliding  *bucket.Window // of a sliding window: Relative, never changed; its State is empty
	Empty    time.Duration  // for how long nothing has been owed
	Spent    int64          // units ever taken
	Absorbed []replica.SourceTotal
	Limit    bucket.Limit // of Usages; zero without any
	Usages   []replica.FallbackUsage

	fork replica.Fork // where a fallback node that decides by this begins to count
}

// idle reports whether nothing is owed.
func (k *BucketSnapshot) idle() bool {
	return k.State.Idle() && (k.Sliding == nil || k.Sliding.Units == bucket.Window{}.Units)
}

// window returns the sliding window at now, of a snapshot that has just arrived.
func (k *BucketSnapshot) window(now time.Duration) (w bucket.Window) {
	if k.Sliding != nil {
		w = k.Sliding.Absolute(now)
	}
	return w.At(k.ID.Limit(), now)
}

// ExportBuckets returns all that this node knows of the buckets of a partition. Once
// the role is exporting that is final: a check reads the role under the lock that
// ExportBuckets takes, so none is under way.
func (l *Local) ExportBuckets(p int) []BucketSnapshot {
	return l.ExportMatching(p, func(bucket.ID) bool { return true })
}

// ExportMatching is ExportBuckets for the wanted buckets.
func (l *Local) ExportMatching(p int, wanted func(bucket.ID) bool) []BucketSnapshot {
	sh := &l.parts[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	ids := map[bucket.ID]struct{}{}
	want := func(id bucket.ID) {
		if wanted(id) {
			ids[id] = struct{}{}
		}
	}
	for account, held := range sh.accounts {
		for i := range held.entries {
			e := &held.entries[i]
			want(e.id(account))
		}
	}
	for id := range sh.copies {
		want(id)
	}
	for id := range sh.fallbacks {
		want(id)
	}
	var out []BucketSnapshot
	for id := range ids {
		k := l.snapshot(sh, id, now)
		if j := sh.fallbacks[id]; j != nil {
			k.Limit, k.Usages = j.limit, j.usages(now)
		}
		// What this owner took is reported even if it has come back: a fallback node may have
		// counted beside it.
		h := sh.tracked[id]
		if !k.idle() || len(k.Usages) > 0 || h != nil && h.stream.HasUnabsorbed() {
			out = append(out, k)
		}
	}
	return out
}

// MergeBucket merges what another node knows of a bucket into what this node knows. It
// changes no bucket of an owner.
func (l *Local) MergeBucket(k BucketSnapshot) {
	sh := l.shard(k.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	if _, role, _ := l.view.Load().part(l.cfg.Partition(k.Account)); role == owner {
		return
	}
	l.mergeLocked(sh, k, now)
}

func (l *Local) mergeLocked(sh *shard, k BucketSnapshot, now time.Duration) {
	mine := l.snapshot(sh, k.ID, now)
	k.State.At = now
	e := entry{state: replica.Larger(mine.State, k.State), spent: max(mine.Spent, k.Spent)}
	if e.state.Idle() {
		e.state.At = now - min(mine.Empty, k.Empty)
	}
	if k.Algorithm == bucket.SlidingWindow {
		w := mine.window(now).Larger(k.window(now))
		e.sliding = &w
	}
	l.setEntry(sh, k.ID, e)
	if len(mine.Absorbed) > 0 || len(k.Absorbed) > 0 {
		l.track(sh, k.ID).stream.Inherit(replica.Union(mine.Absorbed, k.Absorbed))
	}
	for _, r := range k.Usages {
		j := l.fallbackOf(sh, k.ID)
		if k.Limit.Limit > 0 {
			j.limit = k.Limit
		}
		j.record(r, now)
	}
}

// FinishRecovery ends the recovery of partitions, if the map of the epoch is in force:
// this node decides on them from now on, with all that was merged.
func (l *Local) FinishRecovery(epoch uint64, partitions []int) {
	if l.Epoch() != epoch {
		return
	}
	for _, p := range partitions {
		for _, k := range l.ExportBuckets(p) {
			l.recoverBucket(p, k)
		}
		l.recoverTakes(p)
	}
	l.changeRole(epoch, recovering, owner, partitions...)
}

// recoverBucket makes a snapshot the bucket of its new owner. It does nothing once the
// role has changed: the bucket of an owner is ahead of the snapshot.
func (l *Local) recoverBucket(p int, k BucketSnapshot) {
	sh := &l.parts[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l.role(p) == recovering {
		l.installLocked(sh, k)
	}
}

// recoverTakes makes the open takes of the buckets that were recovered.
func (l *Local) recoverTakes(p int) {
	sh := &l.parts[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l.role(p) == recovering {
		l.restoreTakes(sh, nil, l.now())
	}
}

// installLocked makes a snapshot the bucket of its new owner, and adds the fallback
// usage that is not in it.
func (l *Local) installLocked(sh *shard, k BucketSnapshot) {
	now := l.now()
	own := l.snapshot(sh, k.ID, now)
	j := sh.fallbacks[k.ID]
	e := entry{state: own.State, spent: own.Spent}
	if k.Algorithm == bucket.SlidingWindow {
		w := own.window(now)
		e.sliding = &w
	}
	if len(own.Absorbed) > 0 || j != nil || !own.idle() {
		h := l.track(sh, k.ID)
		h.stream = replica.Stream{}
		h.stream.Begin(l.sources.Add(1))
		h.stream.Inherit(own.Absorbed)
		if j != nil && j.limit.Limit > 0 {
			for _, r := range j.usages(now) {
				var missing int64
				e.state, missing = h.stream.Absorb(replica.OwnedBucket{Limit: j.limit, Use: e.state, Empty: own.Empty, Spent: e.spent, Window: e.sliding}, r)
				e.spent += missing
				// The bucket was not empty while these units came back: that time is not
				// forgiven to the next source.
				own.Empty = max(0, own.Empty-bucket.State{Units: missing}.Reset(j.limit))
			}
		}
	}
	delete(sh.copies, k.ID)
	l.setEntry(sh, k.ID, e)
}
