package replica

import (
	"math"
	"time"

	"quorate/limiter/bucket"
)

// Count is how many units a judge other than the owner has admitted of one
// bucket, ever since the source began. A source is one judge's count of one
// bucket; the number is never used again.
type Count struct {
	Source uint64
	Units  int64
}

// MaxSources bounds the sources that are remembered of one bucket. One that is
// forgotten and comes again is absorbed twice, which only admits less.
const MaxSources = 1024

// Union returns the larger of each source's counts: of the last MaxSources.
func Union(a, b []Count) []Count {
	out := append([]Count(nil), a...)
	for _, c := range b {
		if i := find(out, c.Source); i < 0 {
			out = append(out, c)
		} else {
			out[i].Units = max(out[i].Units, c.Units)
		}
	}
	return out[max(0, len(out)-MaxSources):]
}

func find(list []Count, source uint64) int {
	for i := range list {
		if list[i].Source == source {
			return i
		}
	}
	return -1
}

// Known returns how many of the source's units a list has.
func Known(list []Count, source uint64) int64 {
	if i := find(list, source); i >= 0 {
		return list[i].Units
	}
	return 0
}

// Report is a judge's count, on its way to the owner and the other judges.
type Report struct {
	Count
	Age     time.Duration  // since the first unit that was not known to be absorbed
	Fork    Fork           // what the judge knew of the owner then
	Sliding *bucket.Window // of a sliding window, as Sent, and not changed: when the units were admitted
}

// Fork is the statement that a judge went by: from there on two have counted.
type Fork struct {
	Spent int64         // in all, by the owner's word; below 0: nothing was known
	Units int64         // owed; below 0 where a part of what came back is a former owner's
	Age   time.Duration // of the statement, since it arrived
}

// Pending returns the units of the reports that are not absorbed yet.
func Pending(reports []Report, absorbed []Count) int64 {
	var n int64
	for _, r := range reports {
		n += r.missing(absorbed)
	}
	return n
}

func (r Report) missing(absorbed []Count) int64 {
	if i := find(absorbed, r.Source); i >= 0 {
		return max(0, r.Units-absorbed[i].Units)
	}
	return r.Units
}

// StandIn is one judge's part of one bucket: what it may admit while the owner
// cannot be reached, and what it has. Its methods must not overlap.
type StandIn struct {
	Count
	Since  time.Duration // of the first unit that is not known to be absorbed
	fork   Fork          // its Age at Since
	budget bucket.State  // of the stand-in
	share  bucket.State  // of a node that is cut off
	begun  bool          // the share has its first debt
	done   int64         // of Units, absorbed
	window *taken        // of a sliding window
	nodes  int64         // members when it was asked last
	among  int64         // likewise
}

// NewStandIn returns a judge's part that has admitted nothing. The source's
// number must be new.
func NewStandIn(source uint64) *StandIn { return &StandIn{Count: Count{Source: source}} }

// taken is what a judge has admitted of a sliding window.
type taken struct {
	bucket.Window
	limit bucket.Limit
}

// Part returns the limit of a judge's own: one of `of` parts of the rate, and a
// burst of one of `burst` parts, at least one unit.
func Part(l bucket.Limit, of, burst int64) bucket.Limit {
	// The rate stays exact where the limit does not divide: the window grows.
	p := l
	p.Burst = max(1, l.Burst/burst)
	if l.Limit%of == 0 {
		p.Limit = l.Limit / of
	} else if l.Window <= math.MaxInt64/time.Duration(of) {
		p.Window = l.Window * time.Duration(of)
	}
	return p
}

// standInBurst is the part of a burst that a stand-in may admit at once.
const standInBurst = 10

// Judged is a bucket as a judge that is not its owner sees it.
type Judged struct {
	Limit   bucket.Limit
	Copy    bucket.State   // at now
	Pending int64          // units admitted by judges and not in the copy
	Window  *bucket.Window // of a sliding window, at now: what counts by the copy and by all other judges; Copy says the units of all
	Nodes   int64          // members of the cluster
	Among   int64          // how many share the stand-in's part: 1 for the one that should judge
	Fork    Fork           // what is known of the owner
}

// stand returns the limit of a stand-in's own part. Where nobody agrees on who
// should judge, because messages are lost, all others together have as much as
// the one that should: a small burst leaves nothing for each.
func (j *Judged) stand() bucket.Limit {
	among := max(1, j.Among)
	p := Part(j.Limit, j.Nodes*among, standInBurst*among)
	if among > 1 {
		p.Burst = j.Limit.Burst / (standInBurst * among)
	}
	return p
}

// Stand reports whether the stand-in has room for cost at now: in the copy with
// all that is known to be missing in it, and in its own budget, which is never
// granted again however often the owner comes and goes.
func (s *StandIn) Stand(j Judged, cost int64, now time.Duration) bool {
	s.resize(j)
	part := j.stand()
	s.budget = s.budget.Decay(part, now)
	s.budget.At = now
	return j.Copy.Add(j.Pending).Room(j.Limit, cost) && s.budget.Room(part, cost)
}

// resize rounds the budgets up when their denominator changes with the number
// of members or of judges.
func (s *StandIn) resize(j Judged) {
	if s.nodes == j.Nodes && s.among == j.Among {
		return
	}
	s.nodes, s.among = j.Nodes, j.Among
	for _, b := range []*bucket.State{&s.budget, &s.share} {
		if b.Frac > 0 {
			b.Units, b.Frac = b.Units+1, 0
		}
	}
}

// Admit counts what Stand had room for.
func (s *StandIn) Admit(j Judged, cost int64, now time.Duration) {
	s.budget = s.budget.Add(cost)
	s.count(j, cost, now)
}

// Share reports whether a node that is cut off has room for cost at now in its
// share, one of Nodes parts of burst and rate, which begins with as large a
// part of the copy's debt.
func (s *StandIn) Share(j Judged, cost int64, now time.Duration) bool {
	s.resize(j)
	part := Part(j.Limit, j.Nodes, j.Nodes)
	if j.Window != nil {
		w := s.shared(j, now)
		return w.Use(j.Limit, now)+cost <= part.Burst
	}
	if !s.begun {
		s.begun = true
		// What it admitted as a stand-in, before it knew, is of its share.
		s.share = bucket.State{Units: (j.Copy.Units+j.Pending+j.Nodes-1)/j.Nodes + s.budget.Units, At: now}
	}
	s.share = s.share.Decay(part, now)
	s.share.At = now
	return s.share.Room(part, cost)
}

// shared returns what counts at now of the share of a sliding window: one of Nodes
// parts of what all others have admitted, and all that this judge has.
func (s *StandIn) shared(j Judged, now time.Duration) bucket.Window {
	w := j.Window.At(j.Limit, now).Part(j.Nodes)
	if s.window != nil {
		w = w.Join(s.window.At(j.Limit, now))
	}
	return w
}

// AdmitShare counts what Share had room for.
func (s *StandIn) AdmitShare(j Judged, cost int64, now time.Duration) {
	s.share = s.share.Add(cost)
	s.count(j, cost, now)
}

// AdmitFull counts what a cut-off node admits when the policy says full.
func (s *StandIn) AdmitFull(j Judged, cost int64, now time.Duration) { s.count(j, cost, now) }

func (s *StandIn) count(j Judged, cost int64, now time.Duration) {
	if s.Units == s.done {
		s.Since, s.fork = now, j.Fork
	}
	s.Units += cost
	if j.Window != nil {
		if s.window == nil {
			s.window = &taken{}
		}
		s.window.limit = j.Limit
		s.window.Add(j.Limit, cost, now)
	}
}

// Wait returns how long from now, that of the last Stand or Share, until its part
// has room for cost again.
func (s *StandIn) Wait(j Judged, cut bool, cost int64, now time.Duration) time.Duration {
	if cut && j.Window != nil {
		w, part := s.shared(j, now), Part(j.Limit, j.Nodes, j.Nodes)
		part.Limit, part.Window = part.Burst, j.Limit.Window
		return w.Wait(part, cost, now)
	}
	if cut {
		return s.share.Wait(Part(j.Limit, j.Nodes, j.Nodes), cost)
	}
	return s.budget.Wait(j.stand(), cost)
}

// Report returns what the owner must hear, and false when it has absorbed all.
func (s *StandIn) Report(now time.Duration) (Report, bool) {
	r := Report{Count: s.Count, Age: now - s.Since, Fork: s.fork}
	r.Fork.Age += r.Age
	if s.window != nil {
		r.Sliding = s.window.Sent(s.window.limit, now)
	}
	return r, s.Units > s.done
}

// Absorbed notes how many of the units the owner has absorbed.
func (s *StandIn) Absorbed(units int64) { s.done = max(s.done, min(units, s.Units)) }

// Idle reports whether nothing is left to remember at now: all is absorbed, and
// the budgets are whole again.
func (s *StandIn) Idle(j Judged, now time.Duration) bool {
	j.Among = max(1, s.among)
	if s.window != nil && s.window.Use(s.window.limit, now) > 0 {
		return false
	}
	return s.Units == s.done && s.budget.Decay(j.stand(), now).Idle() &&
		s.share.Decay(Part(j.Limit, j.Nodes, j.Nodes), now).Idle()
}

// Empty returns for how long a bucket that was left in a state has owed nothing
// by now.
func Empty(s bucket.State, window, now time.Duration) time.Duration {
	if s.Idle() {
		return max(0, now-s.At)
	}
	left := s.Reset(bucket.Limit{Limit: max(1, s.Rate), Window: window})
	return max(0, now-s.At-left)
}

// Owned is an owner's bucket when something is absorbed.
type Owned struct {
	Limit  bucket.Limit
	Use    bucket.State   // at now
	Empty  time.Duration  // for how long it has owed nothing by now
	Spent  int64          // in all
	Window *bucket.Window // of a sliding window, at Use.At; Absorb adds to it
}

// Absorb adds a judge's count to the owner's bucket, once: it returns the state
// with what of the report was not in it yet, and how many units that were.
// What both have admitted since the statement that the judge went by, less what
// has come back since, is owed, and nothing above two bursts; a judge that knew
// of no statement is forgiven what an empty bucket would have given back. What was
// admitted of a sliding window counts for as long as if its owner had.
func (s *Stream) Absorb(o Owned, r Report) (use bucket.State, missing int64) {
	use = o.Use
	if missing = r.missing(s.seen); missing == 0 {
		return use, 0
	}
	// A new list: statements under way share the old one.
	s.seen, s.heard = Union(s.seen, []Count{r.Count}), use.At
	if !protected(heal) {
		return use, missing
	}
	if o.Window != nil {
		// Of its units that have left the window nothing is owed.
		fits := max(0, 2*o.Limit.Limit-o.Window.Use(o.Limit, use.At))
		*o.Window = o.Window.Join(r.counts(o.Limit, min(missing, fits), use.At))
		use.Units = o.Window.Use(o.Limit, use.At)
		return use, missing
	}
	owed := use.Units + missing
	if f := r.Fork; f.Spent > o.Spent {
		// This owner began without a copy of what the judge knew.
		owed = f.Units + s.own.Units + missing - refill(o.Limit, f.Age)
	} else if f.Spent >= 0 {
		owed = min(owed, f.Units+o.Spent-f.Spent+missing-refill(o.Limit, f.Age))
	} else if use.Idle() {
		owed = missing - min(missing, refill(o.Limit, min(r.Age, o.Empty)))
	}
	use.Units = max(use.Units, min(2*o.Limit.Burst, owed))
	return use, missing
}

// Seen returns what is in the bucket, by who admitted it: what was absorbed, and
// what its owner took himself.
func (s *Stream) Seen() []Count {
	if s.own.Units == 0 {
		return s.seen
	}
	return Union(s.seen, []Count{s.own})
}

// Inherit begins the stream of a new owner: it knows what the copy says was
// absorbed.
func (s *Stream) Inherit(absorbed []Count) { s.seen = Union(s.seen, absorbed) }
