package replica

import (
	"time"

	"quorate/limiter/bucket"
)

// Copies is how many successors hold a copy.
const Copies = 2

// Stream is what the owner of one bucket knows of its copies. The zero Stream
// is of a bucket that no copy knows. Its methods must not overlap.
type Stream struct {
	acks  [Copies]acked
	seen  []Count       // what has been absorbed, by who admitted it
	heard time.Duration // when something was absorbed last
	own   Count         // what this owner has admitted since it is known to copies
	told  int64         // of that, what the next owner has absorbed
}

// acked is what one copy holds at least.
type acked struct {
	node   string
	least  bucket.State // whatever of what was sent has arrived
	stated bucket.State // sent last
	window *windows     // of a sliding window: what it holds, and was sent, in truth
	spent  int64        // likewise
	seq    uint64       // its number
	open   bool         // not acknowledged yet
}

// Statement is what an owner tells a copy: an upper bound of what is used,
// decaying from when it arrives. A later one replaces it.
type Statement struct {
	To       string
	Seq      uint64
	State    bucket.State   // At means nothing elsewhere
	Sliding  *bucket.Window // of a sliding window, as Sent, and not changed; its State is nothing
	Spent    int64          // units of the bucket that were ever admitted or absorbed
	Absorbed []Count
}

// Use is what is used of a bucket at an instant.
type Use struct {
	bucket.State
	Window *bucket.Window // of a sliding window; its State says how many units count, and when
}

// follow gives each successor its place and forgets those that are none any
// more. successors must not be longer than Copies.
func (s *Stream) follow(successors []string) {
	for i := range s.acks {
		if i >= len(successors) {
			s.acks[i] = acked{}
			continue
		}
		if s.acks[i].node == successors[i] {
			continue
		}
		was := s.acks[i]
		s.acks[i] = acked{node: successors[i]}
		for j := i + 1; j < len(s.acks); j++ {
			if s.acks[j].node == successors[i] {
				s.acks[i], s.acks[j] = s.acks[j], was
			}
		}
	}
}

// Covered reports whether the owner may admit cost more on top of use, both at
// the instant use.At: some copy has acknowledged enough. A bucket without
// successors has nobody to wait for.
func (s *Stream) Covered(r Rule, l bucket.Limit, use Use, cost int64, successors []string) bool {
	if !keep || len(successors) == 0 || r.Mode == bucket.Async {
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
	s.follow(successors)
	if use.Window != nil {
		return s.covered(l, use, cost, free, len(successors))
	}
	for i := range s.acks[:len(successors)] {
		if !more(then, decayed(s.acks[i].least, l.Window, use.At)) {
			return true
		}
	}
	return false
}

// Due reports whether a bucket that no copy knows should be stated after use,
// and spent units in all.
func Due(r Rule, l bucket.Limit, use bucket.State, spent int64) bool {
	return keep && (use.Units > half(r, l, use) || spent > l.Burst/2)
}

// half is how far use passes what was stated before more is stated.
func half(r Rule, l bucket.Limit, use bucket.State) int64 {
	if r.Mode != bucket.Async {
		return slack(r, l, use) / 2
	}
	return units(r, l) / 2
}

// State returns the statements that are due: for each copy where use, at the
// instant use.At, has passed what it was told, where cost more could not be
// admitted, or where half a burst was spent since, so that a judge's fork is not
// far away. At most one is open for each copy. next numbers them.
func (s *Stream) State(r Rule, l bucket.Limit, use Use, spent, cost int64, successors []string, next func() uint64) []Statement {
	var out []Statement
	s.follow(successors)
	now := use.At
	want := use.Add(cost)
	behind := min(want.Units, half(r, l, want))
	want.Units -= behind
	for i := range s.acks[:len(successors)] {
		a := &s.acks[i]
		if a.open && now-a.stated.At < again {
			continue
		}
		told := decayed(a.stated, l.Window, now)
		if use.Window != nil && a.heard(l, use, cost, behind) || use.Window == nil && !more(want, told) && spent-a.spent <= l.Burst/2 {
			continue
		}
		stated := use
		stated.State = bound(r, l, use.State, cost)
		out = append(out, s.state(a, stated, stated.Units-use.Units, spent, l, next()))
	}
	return out
}

// state states use, and of it ahead units that are to come.
func (s *Stream) state(a *acked, use Use, ahead, spent int64, l bucket.Limit, seq uint64) Statement {
	now := use.At
	a.spent, a.seq, a.open = spent, seq, true
	if use.Window != nil {
		a.stated = bucket.State{At: now}
		return Statement{To: a.node, Seq: seq, Sliding: a.stateWindow(l, use, ahead), Spent: spent, Absorbed: s.Seen()}
	}
	bound := use.State
	bound.Rate = l.Limit
	// What is sent may arrive, and replace what was acknowledged: the copy owes the
	// smaller of both, and after a change of the limit it may decay at either rate.
	if a.least = decayed(a.least, l.Window, now); protected(smallest) {
		rate := max(a.least.Rate, bound.Rate)
		if more(a.least, bound) {
			a.least = bound
		}
		a.least.Rate = rate
	}
	a.stated = bound
	return Statement{To: a.node, Seq: seq, State: bound, Spent: spent, Absorbed: s.Seen()}
}

// Forget drops what a node has acknowledged: it remembers nothing of it.
func (s *Stream) Forget(node string) {
	for i := range s.acks {
		if s.acks[i].node == node {
			s.acks[i] = acked{node: node}
		}
	}
}

// Restate returns a statement of just what is used at use.At to one of the
// successors, ok false to who is none: a new one must know of buckets that
// nobody asks for too.
func (s *Stream) Restate(node string, l bucket.Limit, use Use, spent int64, successors []string, next func() uint64) (st Statement, ok bool) {
	s.follow(successors)
	for i := range s.acks[:len(successors)] {
		if s.acks[i].node == node {
			return s.state(&s.acks[i], use, 0, spent, l, next()), true
		}
	}
	return st, false
}

// Ahead returns by how many units use, at the instant use.At, is ahead of what
// the better copy has acknowledged.
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

// Least calls fn with each successor and what it holds at least, at now.
func (s *Stream) Least(window, now time.Duration, fn func(node string, least bucket.State)) {
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
func (s *Stream) Begin(source uint64) { s.own = Count{Source: source} }

// Took counts what this owner has admitted: the next one starts from a copy,
// and must hear of what the copy lacks.
func (s *Stream) Took(cost int64) { s.own.Units += cost }

// Left returns what a former owner reports, as a judge does, and false when the
// next one knows all. Its bucket owed units when it was touched last, an age ago,
// and spent in all: so the fork is the bucket without what this owner took.
func (s *Stream) Left(units, spent int64, age time.Duration) (Report, bool) {
	fork := Fork{Spent: max(0, spent-s.own.Units), Units: units - s.own.Units, Age: age}
	return Report{Count: s.own, Age: age, Fork: fork}, s.own.Units > s.told
}

// Untold reports whether a former owner has something to report.
func (s *Stream) Untold() bool { return s.own.Units > s.told }

// Told notes how much of what the source admitted the next owner knows.
func (s *Stream) Told(source uint64, units int64) {
	if s.own.Source == source {
		s.told = max(s.told, units)
	}
}

// Acked notes that a copy holds the statement with the number. Only the last
// one sent counts: an earlier one may have been replaced by then.
func (s *Stream) Acked(node string, seq uint64) {
	for i := range s.acks {
		if a := &s.acks[i]; a.node == node && a.seq == seq && a.open {
			if a.least, a.open = a.stated, false; a.window != nil {
				a.window.least = a.window.stated
			}
		}
	}
}

// Remembered is for how long a count that was absorbed is known again. Should it
// come later, it is absorbed twice, which only admits less.
const Remembered = 10 * time.Minute

// Idle reports whether nothing is left to remember of a bucket that owes nothing
// at now: no copy holds anything and nothing absorbed will come again.
func (s *Stream) Idle(window, now time.Duration) bool {
	for i := range s.acks {
		if w := s.acks[i].window; w != nil && w.stated.Use(bucket.Limit{Window: window}, now) > 0 || !decayed(s.acks[i].stated, window, now).Idle() {
			return false
		}
	}
	return len(s.seen) == 0 || now-s.heard > Remembered
}
