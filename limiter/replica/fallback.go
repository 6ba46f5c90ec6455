package replica

import (
	"math"
	"time"

	"quorate/limiter/bucket"
)

// SourceTotal is how many units a fallback node other than the owner has admitted of one
// bucket, ever since the source began. A source is one fallback node's usage of one
// bucket; the number is never used again.
type SourceTotal struct {
	Source uint64
	Units  int64
}

// MaxSources bounds the sources that are remembered of one bucket. One that is
// forgotten and comes again is absorbed twice, which only admits less.
const MaxSources = 1024

// Union returns the larger of each source's counts: of the last MaxSources.
func Union(a, b []SourceTotal) []SourceTotal {
	out := append([]SourceTotal(nil), a...)
	for _, c := range b {
		if i := find(out, c.Source); i < 0 {
			out = append(out, c)
		} else {
			out[i].Units = max(out[i].Units, c.Units)
		}
	}
	return out[max(0, len(out)-MaxSources):]
}

func find(list []SourceTotal, source uint64) int {
	for i := range list {
		if list[i].Source == source {
			return i
		}
	}
	return -1
}

// UnitsOf returns how many of the source's units a list has.
func UnitsOf(list []SourceTotal, source uint64) int64 {
	if i := find(list, source); i >= 0 {
		return list[i].Units
	}
	return 0
}

// FallbackUsage is a fallback node's usage, on its way to the owner and the other fallback nodes.
type FallbackUsage struct {
	SourceTotal
	Age     time.Duration  // since the first unit that was not known to be absorbed
	Fork    Fork           // what the fallback node knew of the owner then
	Sliding *bucket.Window // of a sliding window, as Sent, and not changed: when the units were admitted
}

// Fork is the usage bound that a fallback node went by: from there on two have counted.
type Fork struct {
	Spent int64         // in all, by the owner's word; below 0: nothing was known
	Units int64         // owed; below 0 where a part of what came back is a former owner's
	Age   time.Duration // of the usage bound, since it arrived
}

// Pending returns the units of the reports that are not absorbed yet.
func Pending(reports []FallbackUsage, absorbed []SourceTotal) int64 {
	var n int64
	for _, r := range reports {
		n += r.missing(absorbed)
	}
	return n
}

func (r FallbackUsage) missing(absorbed []SourceTotal) int64 {
	if i := find(absorbed, r.Source); i >= 0 {
		return max(0, r.Units-absorbed[i].Units)
	}
	return r.Units
}

// Fallback is one fallback node's part of one bucket: what it may admit while the owner
// cannot be reached, and what it has. Its methods must not overlap.
type Fallback struct {
	SourceTotal
	Since      time.Duration   // of the first unit that is not known to be absorbed
	fork       Fork            // its Age at Since
	budget     bucket.State    // of the fallback
	share      bucket.State    // of a node that is cut off
	shareBegun bool            // the share has its first debt
	absorbed   int64           // of Units, absorbed
	window     *fallbackWindow // of a sliding window
	nodes      int64           // members when it was asked last
	sharers    int64           // likewise
}

// NewFallback returns a fallback node's part that has admitted nothing. The source's
// number must be new.
func NewFallback(source uint64) *Fallback { return &Fallback{SourceTotal: SourceTotal{Source: source}} }

// fallbackWindow is what a fallback node has admitted of a sliding window.
type fallbackWindow struct {
	bucket.Window
	limit bucket.Limit
}

// Part returns the limit of a fallback node's own: one of `of` parts of the rate, and a
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

// fallbackBurst is the part of a burst that a fallback may admit at once.
const fallbackBurst = 10

// FallbackBucket is a bucket as a fallback node sees it.
type FallbackBucket struct {
	Limit   bucket.Limit
	Copy    bucket.State   // at now
	Pending int64          // units admitted by fallback nodes and not in the copy
	Window  *bucket.Window // of a sliding window, at now: what counts by the copy and by all other fallback nodes; Copy says the units of all
	Nodes   int64          // members of the cluster
	Sharers int64          // how many share the fallback's part: 1 for the one that should fallback node
	Fork    Fork           // what is known of the owner
}

// fallbackLimit returns the limit of a fallback's own part. Where nobody agrees on who
// should fallback node, because messages are lost, all others together have as much as
// the one that should: a small burst leaves nothing for each.
func (j *FallbackBucket) fallbackLimit() bucket.Limit {
	among := max(1, j.Sharers)
	p := Part(j.Limit, j.Nodes*among, fallbackBurst*among)
	if among > 1 {
		p.Burst = j.Limit.Burst / (fallbackBurst * among)
	}
	return p
}

// Fits reports whether the fallback has room for cost at now: in the copy with
// all that is known to be missing in it, and in its own budget, which is never
// granted again however often the owner comes and goes.
func (s *Fallback) Fits(j FallbackBucket, cost int64, now time.Duration) bool {
	s.resize(j)
	part := j.fallbackLimit()
	s.budget = s.budget.Decay(part, now)
	s.budget.At = now
	return j.Copy.Add(j.Pending).Room(j.Limit, cost) && s.budget.Room(part, cost)
}

// resize rounds the budgets up when their denominator changes with the number
// of members or of fallback nodes.
func (s *Fallback) resize(j FallbackBucket) {
	if s.nodes == j.Nodes && s.sharers == j.Sharers {
		return
	}
	s.nodes, s.sharers = j.Nodes, j.Sharers
	for _, b := range []*bucket.State{&s.budget, &s.share} {
		if b.Frac > 0 {
			b.Units, b.Frac = b.Units+1, 0
		}
	}
}

// Admit counts what Stand had room for.
func (s *Fallback) Admit(j FallbackBucket, cost int64, now time.Duration) {
	s.budget = s.budget.Add(cost)
	s.count(j, cost, now)
}

// ShareFits reports whether a node that is cut off has room for cost at now in its
// share, one of Nodes parts of burst and rate, which begins with as large a
// part of the copy's debt.
func (s *Fallback) ShareFits(j FallbackBucket, cost int64, now time.Duration) bool {
	s.resize(j)
	part := Part(j.Limit, j.Nodes, j.Nodes)
	if j.Window != nil {
		w := s.shareWindow(j, now)
		return w.Use(j.Limit, now)+cost <= part.Burst
	}
	if !s.shareBegun {
		s.shareBegun = true
		// What it admitted as a fallback, before it knew, is of its share.
		s.share = bucket.State{Units: (j.Copy.Units+j.Pending+j.Nodes-1)/j.Nodes + s.budget.Units, At: now}
	}
	s.share = s.share.Decay(part, now)
	s.share.At = now
	return s.share.Room(part, cost)
}

// shareWindow returns what counts at now of the share of a sliding window: one of Nodes
// parts of what all others have admitted, and all that this fallback node has.
func (s *Fallback) shareWindow(j FallbackBucket, now time.Duration) bucket.Window {
	w := j.Window.At(j.Limit, now).Part(j.Nodes)
	if s.window != nil {
		w = w.Join(s.window.At(j.Limit, now))
	}
	return w
}

// AdmitShare counts what Share had room for.
func (s *Fallback) AdmitShare(j FallbackBucket, cost int64, now time.Duration) {
	s.share = s.share.Add(cost)
	s.count(j, cost, now)
}

// AdmitFull counts what a cut-off node admits when the policy says full.
func (s *Fallback) AdmitFull(j FallbackBucket, cost int64, now time.Duration) { s.count(j, cost, now) }

func (s *Fallback) count(j FallbackBucket, cost int64, now time.Duration) {
	if s.Units == s.absorbed {
		s.Since, s.fork = now, j.Fork
	}
	s.Units += cost
	if j.Window != nil {
		if s.window == nil {
			s.window = &fallbackWindow{}
		}
		s.window.limit = j.Limit
		s.window.Add(j.Limit, cost, now)
	}
}

// Wait returns how long from now, that of the last Stand or Share, until its part
// has room for cost again.
func (s *Fallback) Wait(j FallbackBucket, cut bool, cost int64, now time.Duration) time.Duration {
	if cut && j.Window != nil {
		w, part := s.shareWindow(j, now), Part(j.Limit, j.Nodes, j.Nodes)
		part.Limit, part.Window = part.Burst, j.Limit.Window
		return w.Wait(part, cost, now)
	}
	if cut {
		return s.share.Wait(Part(j.Limit, j.Nodes, j.Nodes), cost)
	}
	return s.budget.Wait(j.fallbackLimit(), cost)
}

// Usage returns what the owner must hear, and false when it has absorbed all.
func (s *Fallback) Usage(now time.Duration) (FallbackUsage, bool) {
	r := FallbackUsage{SourceTotal: s.SourceTotal, Age: now - s.Since, Fork: s.fork}
	r.Fork.Age += r.Age
	if s.window != nil {
		r.Sliding = s.window.Relative(s.window.limit, now)
	}
	return r, s.Units > s.absorbed
}

// MarkAbsorbed notes how many of the units the owner has absorbed.
func (s *Fallback) MarkAbsorbed(units int64) { s.absorbed = max(s.absorbed, min(units, s.Units)) }

// Idle reports whether nothing is left to remember at now: all is absorbed, and
// the budgets are whole again.
func (s *Fallback) Idle(j FallbackBucket, now time.Duration) bool {
	j.Sharers = max(1, s.sharers)
	if s.window != nil && s.window.Use(s.window.limit, now) > 0 {
		return false
	}
	return s.Units == s.absorbed && s.budget.Decay(j.fallbackLimit(), now).Idle() &&
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

// OwnedBucket is an owner's bucket when something is absorbed.
type OwnedBucket struct {
	Limit  bucket.Limit
	Use    bucket.State   // at now
	Empty  time.Duration  // for how long it has owed nothing by now
	Spent  int64          // in all
	Window *bucket.Window // of a sliding window, at Use.At; Absorb adds to it
}

// Absorb adds a fallback node's usage to the owner's bucket, once: it returns the state
// with what of the report was not in it yet, and how many units that were.
// What both have admitted since the usage bound that the fallback node went by, less what
// has come back since, is owed, and nothing above two bursts; a fallback node that knew
// of no usage bound is forgiven what an empty bucket would have given back. What was
// admitted of a sliding window counts for as long as if its owner had.
func (s *Stream) Absorb(o OwnedBucket, r FallbackUsage) (use bucket.State, missing int64) {
	use = o.Use
	if missing = r.missing(s.absorbed); missing == 0 {
		return use, 0
	}
	// A new list: usage bounds under way share the old one.
	s.absorbed, s.absorbedAt = Union(s.absorbed, []SourceTotal{r.SourceTotal}), use.At
	if noHeal {
		return use, missing
	}
	if o.Window != nil {
		// Units that have left the window are not owed.
		o.Window.Advance(o.Limit, use.At)
		fits := max(0, 2*o.Limit.Limit-o.Window.Use(o.Limit, use.At))
		*o.Window = o.Window.Join(r.window(o.Limit, min(missing, fits), use.At))
		use.Units = o.Window.Use(o.Limit, use.At)
		return use, missing
	}
	owed := use.Units + missing
	if f := r.Fork; f.Spent > o.Spent {
		// This owner began without a copy of what the fallback node knew.
		owed = f.Units + s.own.Units + missing - refill(o.Limit, f.Age)
	} else if f.Spent >= 0 {
		owed = min(owed, f.Units+o.Spent-f.Spent+missing-refill(o.Limit, f.Age))
	} else if use.Idle() {
		owed = missing - min(missing, refill(o.Limit, min(r.Age, o.Empty)))
	}
	use.Units = max(use.Units, min(2*o.Limit.Burst, owed))
	return use, missing
}

// Absorbed returns what is in the bucket, by who admitted it: what was absorbed, and
// what its owner took himself.
func (s *Stream) Absorbed() []SourceTotal {
	if s.own.Units == 0 {
		return s.absorbed
	}
	return Union(s.absorbed, []SourceTotal{s.own})
}

// Inherit begins the stream of a new owner: it knows what the copy says was
// absorbed.
func (s *Stream) Inherit(absorbed []SourceTotal) { s.absorbed = Union(s.absorbed, absorbed) }
