package replica

import (
	"time"

	"quorate/limiter/bucket"
)

// Copies is the number of successors that hold a copy.
const Copies = 2

// Stream is what the owner of one bucket knows of its copies. The zero Stream is of a
// bucket that was never published. Its methods must not overlap.
type Stream struct {
	acks        [Copies]ack
	absorbed    []SourceTotal // by source
	absorbedAt  time.Duration // when something was absorbed last
	own         SourceTotal   // what this owner has admitted since the bucket was first published
	ownAbsorbed int64         // of own, what the next owner has absorbed
}

// ack is what one copy holds.
type ack struct {
	node      string
	least     bucket.State // the copy holds this or more, whatever of what was sent has arrived
	published bucket.State // last
	window    *windowAck   // of a sliding window: both of these
	spent     int64        // published last
	seq       uint64       // of the bound published last
	pending   bool         // that bound is not acknowledged yet
}

// UsageBound is an upper bound of the use of a bucket, from its owner to a copy. It
// decays from its arrival on, and a later one replaces it.
type UsageBound struct {
	To       string
	Seq      uint64
	State    bucket.State   // At has no meaning at another node
	Sliding  *bucket.Window // of a sliding window: Relative, never changed; its State is empty
	Spent    int64          // units ever admitted or absorbed
	Absorbed []SourceTotal
}

// Use is the use of a bucket at an instant, State.At.
type Use struct {
	bucket.State
	Window *bucket.Window // of a sliding window; State has the units that count
}

// alignAcks orders the acks by successor and drops those of other nodes. successors
// must not be longer than Copies.
func (s *Stream) alignAcks(successors []string) {
	for i := range s.acks {
		if i >= len(successors) {
			s.acks[i] = ack{}
			continue
		}
		if s.acks[i].node == successors[i] {
			continue
		}
		was := s.acks[i]
		s.acks[i] = ack{node: successors[i]}
		for j := i + 1; j < len(s.acks); j++ {
			if s.acks[j].node == successors[i] {
				s.acks[i], s.acks[j] = s.acks[j], was
			}
		}
	}
}

// Replicated reports whether the owner may admit cost on top of use: some copy has
// acknowledged enough, or there is no successor.
func (s *Stream) Replicated(r Rule, l bucket.Limit, use Use, cost int64, successors []string) bool {
	if noCopies || len(successors) == 0 || r.Mode == bucket.Async {
		return true
	}
	then := use.Add(cost)
	free := min(then.Units, slack(r, l, then))
	if then.Units -= free; then.Units == 0 {
		return true
	}
	if s == nil {
		return false
	}
	s.alignAcks(successors)
	if use.Window != nil {
		return s.windowReplicated(l, use, cost, free, len(successors))
	}
	for i := range s.acks[:len(successors)] {
		if !owesMore(then, decayed(s.acks[i].least, l.Window, use.At)) {
			return true
		}
	}
	return false
}

// Due reports whether a bucket that was never published should be, after use, and
// spent units ever.
func Due(r Rule, l bucket.Limit, use bucket.State, spent int64) bool {
	return !noCopies && (use.Units > publishThreshold(r, l, use) || spent > l.Burst/2)
}

// publishThreshold returns how far the use passes the published bound before the next
// one is published.
func publishThreshold(r Rule, l bucket.Limit, use bucket.State) int64 {
	if r.Mode != bucket.Async {
		return slack(r, l, use) / 2
	}
	return slackUnits(r, l) / 2
}

// Publication is a bucket whose owner publishes its use.
type Publication struct {
	Rule       Rule
	Limit      bucket.Limit
	Use        Use
	Spent      int64         // units ever taken of the bucket
	Cost       int64         // units that a check needs and that the copies lack, if any
	Successors []string      // at most Copies
	Next       func() uint64 // returns the number of the next usage bound
}

// Publish returns the usage bounds that are due: one for each copy whose last bound
// the use has passed, which lacks room for the cost, or since whose last bound half a
// burst was spent (then the fork of a fallback node is not far back). At most one bound
// of each copy is pending.
func (s *Stream) Publish(p *Publication) []UsageBound {
	var out []UsageBound
	s.alignAcks(p.Successors)
	now := p.Use.At
	want := p.Use.Add(p.Cost)
	behind := min(want.Units, publishThreshold(p.Rule, p.Limit, want))
	want.Units -= behind
	for i := range s.acks[:len(p.Successors)] {
		a := &s.acks[i]
		if a.pending && now-a.published.At < resendAfter {
			continue
		}
		published := decayed(a.published, p.Limit.Window, now)
		if p.Use.Window != nil && a.knows(p.Limit, p.Use, p.Cost, behind) || p.Use.Window == nil && !owesMore(want, published) && p.Spent-a.spent <= p.Limit.Burst/2 {
			continue
		}
		bound := p.Use
		bound.State = upperBound(p.Rule, p.Limit, p.Use.State, p.Cost)
		out = append(out, s.publish(a, p, bound, bound.Units-p.Use.Units))
	}
	return out
}

// publish returns the usage bound for one copy: use, of which ahead units are still
// to come.
func (s *Stream) publish(a *ack, p *Publication, use Use, ahead int64) UsageBound {
	now := use.At
	a.spent, a.seq, a.pending = p.Spent, p.Next(), true
	if use.Window != nil {
		a.published = bucket.State{At: now}
		return UsageBound{To: a.node, Seq: a.seq, Sliding: a.publishWindow(p.Limit, use, ahead), Spent: p.Spent, Absorbed: s.Absorbed()}
	}
	bound := use.State
	bound.Rate = p.Limit.Limit
	// What is published may replace what was acknowledged: the copy owes the smaller of
	// both at least, and after a change of the limit it may decay at either rate.
	if a.least = decayed(a.least, p.Limit.Window, now); !noSmallest {
		rate := max(a.least.Rate, bound.Rate)
		if owesMore(a.least, bound) {
			a.least = bound
		}
		a.least.Rate = rate
	}
	a.published = bound
	return UsageBound{To: a.node, Seq: a.seq, State: bound, Spent: p.Spent, Absorbed: s.Absorbed()}
}

// Forget drops what a node has acknowledged, because the node has forgotten it.
func (s *Stream) Forget(node string) {
	for i := range s.acks {
		if s.acks[i].node == node {
			s.acks[i] = ack{node: node}
		}
	}
}

// Republish returns a usage bound of exactly the use for one of the successors; ok is
// false for any other node. A new successor needs one also of the buckets that are not
// checked at the moment.
func (s *Stream) Republish(node string, p *Publication) (b UsageBound, ok bool) {
	s.alignAcks(p.Successors)
	for i := range s.acks[:len(p.Successors)] {
		if s.acks[i].node == node {
			return s.publish(&s.acks[i], p, p.Use, 0), true
		}
	}
	return b, false
}

// Ahead returns how many units use is ahead of what the better copy has acknowledged.
func (s *Stream) Ahead(use Use, window time.Duration) int64 {
	ahead := use.Units
	for i := range s.acks {
		least := decayed(s.acks[i].least, window, use.At).Units
		if w := s.acks[i].window; use.Window != nil && w != nil {
			least = w.least.Use(bucket.Limit{Window: window}, use.At)
		}
		ahead = min(ahead, use.Units-least)
	}
	return max(0, ahead)
}

// LowerBounds calls fn with each successor and what it holds at least, at now.
func (s *Stream) LowerBounds(window, now time.Duration, fn func(node string, least bucket.State)) {
	for i := range s.acks {
		if a := &s.acks[i]; a.node != "" {
			least := decayed(a.least, window, now)
			if a.window != nil {
				least = bucket.State{Units: a.window.least.Use(bucket.Limit{Window: window}, now), At: now}
			}
			fn(a.node, least)
		}
	}
}

// Begin names the source of what this owner admits. The number must be new.
func (s *Stream) Begin(source uint64) { s.own = SourceTotal{Source: source} }

// Admitted counts what this owner has admitted. The next owner starts from a copy and
// must hear of what the copy lacks.
func (s *Stream) Admitted(cost int64) { s.own.Units += cost }

// FormerOwnerUsage returns the usage that a former owner reports, as a fallback node
// does, and false if the next owner knows all of it. The bucket owed units at its last
// touch, an age ago, and spent units were ever taken. The fork is the bucket without
// what this owner admitted.
func (s *Stream) FormerOwnerUsage(units, spent int64, age time.Duration) (FallbackUsage, bool) {
	fork := Fork{Spent: max(0, spent-s.own.Units), Units: units - s.own.Units, Age: age}
	return FallbackUsage{SourceTotal: s.own, Age: age, Fork: fork}, s.own.Units > s.ownAbsorbed
}

// HasUnabsorbed reports whether a former owner has something to report.
func (s *Stream) HasUnabsorbed() bool { return s.own.Units > s.ownAbsorbed }

// MarkAbsorbed notes how much of the source the next owner has absorbed.
func (s *Stream) MarkAbsorbed(source uint64, units int64) {
	if s.own.Source == source {
		s.ownAbsorbed = max(s.ownAbsorbed, units)
	}
}

// Acked notes that a copy holds the usage bound with the number. Only the one sent
// last counts: an earlier one may have been replaced.
func (s *Stream) Acked(node string, seq uint64) {
	for i := range s.acks {
		if a := &s.acks[i]; a.node == node && a.seq == seq && a.pending {
			if a.least, a.pending = a.published, false; a.window != nil {
				a.window.least = a.window.published
			}
		}
	}
}

// RememberFor is how long a source is remembered after it was absorbed. If it comes
// later, it is absorbed twice, so the bucket admits less.
const RememberFor = 10 * time.Minute

// Idle reports whether nothing must be remembered, at now, of a bucket that owes
// nothing: no copy holds anything, and no source that was absorbed will come again.
func (s *Stream) Idle(window, now time.Duration) bool {
	for i := range s.acks {
		if w := s.acks[i].window; w != nil && w.published.Use(bucket.Limit{Window: window}, now) > 0 || !decayed(s.acks[i].published, window, now).Idle() {
			return false
		}
	}
	return len(s.absorbed) == 0 || now-s.absorbedAt > RememberFor
}
