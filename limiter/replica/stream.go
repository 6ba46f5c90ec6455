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
	spent  int64        // likewise
	seq    uint64       // its number
	open   bool         // not acknowledged yet
}

// Statement is what an owner tells a copy: an upper bound of what is used,
// decaying from when it arrives. A later one replaces it.
type Statement struct {
	To       string
	Seq      uint64
	State    bucket.State // At means nothing elsewhere
	Spent    int64        // units of the bucket that were ever admitted or absorbed
	Absorbed []Count
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
func (s *Stream) Covered(r Rule, l bucket.Limit, use bucket.State, cost int64, successors []string) bool {
	if !keep || len(successors) == 0 || r.Mode == bucket.Async {
		return true
	}
	then := use.Add(cost)
	then.Units -= min(then.Units, slack(r, l, then))
	if then.Units == 0 {
		return true
	}
	if s == nil {
		return false
	}
	s.follow(successors)
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
func (s *Stream) State(r Rule, l bucket.Limit, use bucket.State, spent, cost int64, successors []string, next func() uint64) []Statement {
	var out []Statement
	s.follow(successors)
	now := use.At
	want := use.Add(cost)
	want.Units -= min(want.Units, half(r, l, want))
	for i := range s.acks[:len(successors)] {
		a := &s.acks[i]
		told := decayed(a.stated, l.Window, now)
		if a.open && now-a.stated.At < again || !a.open && !more(want, told) && spent-a.spent <= l.Burst/2 {
			continue
		}
		out = append(out, s.state(a, bound(r, l, use, cost), spent, l, next()))
	}
	return out
}

func (s *Stream) state(a *acked, bound bucket.State, spent int64, l bucket.Limit, seq uint64) Statement {
	now := bound.At
	bound.Rate = l.Limit
	// What is sent may arrive, and replace what was acknowledged.
	if a.least = decayed(a.least, l.Window, now); protected(smallest) && more(a.least, bound) {
		a.least = bound
	}
	a.stated, a.spent, a.seq, a.open = bound, spent, seq, true
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
func (s *Stream) Restate(node string, l bucket.Limit, use bucket.State, spent int64, successors []string, next func() uint64) (st Statement, ok bool) {
	s.follow(successors)
	for i := range s.acks[:len(successors)] {
		if s.acks[i].node == node {
			return s.state(&s.acks[i], use, spent, l, next()), true
		}
	}
	return st, false
}

// Ahead returns by how many units use, at the instant use.At, is ahead of what
// the better copy has acknowledged.
func (s *Stream) Ahead(use bucket.State, window time.Duration) int64 {
	ahead := use.Units
	for i := range s.acks {
		ahead = min(ahead, use.Units-decayed(s.acks[i].least, window, use.At).Units)
	}
	return max(0, ahead)
}

// Least calls fn with each successor and what it holds at least, at now.
func (s *Stream) Least(window, now time.Duration, fn func(node string, least bucket.State)) {
	for i := range s.acks {
		if a := &s.acks[i]; a.node != "" {
			fn(a.node, decayed(a.least, window, now))
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
			a.least, a.open = a.stated, false
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
		if !decayed(s.acks[i].stated, window, now).Idle() {
			return false
		}
	}
	return len(s.seen) == 0 || now-s.heard > Remembered
}
