package limiter

import (
	"slices"
	"time"

	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

// allIncomplete marks a partition without a whole copy at any successor.
const allIncomplete = 1<<2 - 1

// incompleteCopies returns the successors without a whole copy of a partition that
// this node owned under the map before: all but those that had one then, in the same
// boot.
func (s *localView) incompleteCopies(node string, was *localView, p int) uint8 {
	before, _, _ := was.part(p)
	var out uint8
	held := before.copies(node)
	for i, id := range s.Parts[p].copies(node) {
		k := slices.Index(held[:], id)
		if k < 0 || was.incomplete[p]>>k&1 == 1 || s.Boots[id] != was.Boots[id] {
			out |= 1 << i
		}
	}
	return out
}

// forgetAcks drops what successors acknowledged before they restarted.
func (l *Local) forgetAcks(was, now *localView) {
	if was == nil {
		return
	}
	over := map[string]bool{}
	for id, boot := range now.Boots {
		// A node that was no member for a while may have been a successor before.
		if was.Boots[id] != boot {
			over[id] = true
		}
	}
	if len(over) == 0 {
		return
	}
	for p := range now.Parts {
		for _, id := range now.Parts[p].copies(l.node) {
			if over[id] {
				l.forgetAcksOf(p, id)
			}
		}
	}
}

func (l *Local) forgetAcksOf(p int, node string) {
	sh := &l.parts[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, h := range sh.tracked {
		h.stream.Forget(node)
	}
}

// Republish returns usage bounds of all that a successor must know of a partition that
// this node owns. A bucket that was never published is far below its limit, and need
// not be known.
func (l *Local) Republish(p int, node string) []UsageBound {
	sh := &l.parts[p]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := l.now()
	v := l.view.Load()
	_, role, since := v.part(p)
	if role != owner {
		return nil
	}
	o := &ownerAttempt{l: l, sh: sh, since: since, part: &v.Parts[p]}
	var out []UsageBound
	for id, h := range sh.tracked {
		use := l.used(sh, id, now)
		limit := id.Limit()
		limit.Limit = max(1, use.Rate)
		p := replica.Publication{Limit: limit, Use: use, Spent: l.entry(sh, id).spent, Successors: o.successors(), Next: l.nextSeq}
		if s, ok := h.stream.Republish(node, &p); ok {
			out = append(out, UsageBound{ID: id, Origin: since, UsageBound: s})
		}
	}
	return out
}

// used returns the use of a bucket at now, by the rate of its last touch.
func (l *Local) used(sh *shard, id bucket.ID, now time.Duration) (use replica.Use) {
	e := l.entry(sh, id)
	if id.Algorithm == bucket.SlidingWindow {
		w := e.slid()
		use.Window, use.Units = &w, w.Use(id.Limit(), now)
	} else {
		use.State = decay(e.state, id.Window, now)
	}
	use.At = now
	return use
}

// MarkCopied notes that a successor has whole copies of partitions, if the map of the
// epoch is in force.
func (l *Local) MarkCopied(epoch uint64, partitions []int, node string) {
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	was := l.view.Load()
	if was == nil || was.Epoch != epoch {
		return
	}
	next := *was
	next.incomplete = slices.Clone(was.incomplete)
	for _, p := range partitions {
		ids := was.Parts[p].copies(l.node)
		if i := slices.Index(ids[:], node); i >= 0 {
			next.incomplete[p] &^= 1 << i
		}
	}
	l.view.Store(&next)
}
