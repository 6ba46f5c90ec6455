package replica

import (
	"math"
	"math/bits"
	"time"

	"quorate/limiter/bucket"
)

// SourceTotal is the number of units of one bucket that one source has admitted since
// it began. A source is a count of admissions that the bucket's owner may lack: of a
// fallback, or of an earlier owner. Its number is never used again.
type SourceTotal struct {
	Source uint64
	Units  int64
}

// MaxSources bounds the sources that are remembered of one bucket. A forgotten source
// that comes again is absorbed twice, so the bucket admits less.
const MaxSources = 1024

// Union returns the larger total of each source, for the last MaxSources sources.
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

// UnitsOf returns the total of a source, 0 if the list has none.
func UnitsOf(list []SourceTotal, source uint64) int64 {
	if i := find(list, source); i >= 0 {
		return list[i].Units
	}
	return 0
}

// FallbackUsage is what one source has admitted, on its way to the owner and the other
// fallback nodes.
type FallbackUsage struct {
	SourceTotal
	Age     time.Duration  // of the first unit that is not known to be absorbed
	Fork    Fork           // what the source knew of the owner then
	Sliding *bucket.Window // of a sliding window: when the units were admitted; Relative, never changed
}

// Fork is the usage bound that a source decided by: from there on the owner and the
// source count apart.
type Fork struct {
	Spent int64         // ever taken, by that bound; below 0: the source knew of none
	Units int64         // owed without this source's own units, so negative once some came back
	Age   time.Duration // since the bound arrived
}

// Pending returns the units of the usages that are not absorbed yet.
func Pending(usages []FallbackUsage, absorbed []SourceTotal) int64 {
	var n int64
	for _, r := range usages {
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

// Fallback is one fallback node's part of one bucket: what it may admit while the
// owner cannot be reached, and what it has admitted. Its methods must not overlap.
type Fallback struct {
	SourceTotal
	Since      time.Duration   // when the first unit that is not known to be absorbed was admitted
	fork       Fork            // its Age is as of Since
	budget     bucket.State    // of a fallback node that reaches a majority
	share      bucket.State    // of a node that is cut off
	shareBegun bool            // share was charged its 1/N of the copy's debt
	absorbed   int64           // of Units
	window     *fallbackWindow // of a sliding window
	nodes      int64           // members at the last decision
	sharers    int64           // likewise
}

// NewFallback returns a part that has admitted nothing. The number of the source must
// be new.
func NewFallback(source uint64) *Fallback { return &Fallback{SourceTotal: SourceTotal{Source: source}} }

// fallbackWindow is what a fallback node has admitted of a sliding window.
type fallbackWindow struct {
	bucket.Window
	limit bucket.Limit
}

// Part returns a fallback node's own limit: one of rateParts parts of the rate, and one of
// burstParts parts of the burst, at least one unit.
func Part(l bucket.Limit, rateParts, burstParts int64) bucket.Limit {
	p := l
	p.Burst = max(1, l.Burst/burstParts)
	switch {
	case l.Limit%rateParts == 0:
		p.Limit = l.Limit / rateParts
	case l.Window <= math.MaxInt64/time.Duration(rateParts):
		p.Window = l.Window * time.Duration(rateParts) // the rate stays exact
	default:
		p.Limit, p.Window = slowRate(l, rateParts)
	}
	return p
}

// slowRate divides the rate of l if its window has no room for the parts. It returns as
// many units as fit the longest window, and the time that they take, rounded up to a
// nanosecond. A unit that takes more than the longest window, 292 years, takes just that.
func slowRate(l bucket.Limit, parts int64) (units int64, window time.Duration) {
	limit := uint64(l.Limit)
	hi, lo := bits.Mul64(uint64(l.Window), uint64(parts)) // the time for limit units
	if hi >= limit {
		return 1, math.MaxInt64
	}
	each, rest := bits.Div64(hi, lo, limit) // one unit takes each + rest/limit
	if each >= math.MaxInt64 {
		return 1, math.MaxInt64
	}
	n := math.MaxInt64 / (each + 1)
	hi, lo = bits.Mul64(n, rest)
	more, left := bits.Div64(hi, lo, limit)
	if left > 0 {
		more++
	}
	return int64(n), time.Duration(n*each + more)
}

// fallbackBurst is the part of a burst that a fallback node may admit at once.
const fallbackBurst = 10

// FallbackBucket is a bucket as a fallback node sees it.
type FallbackBucket struct {
	Limit   bucket.Limit
	Copy    bucket.State   // at now
	Pending int64          // units of fallback nodes that are not in the copy
	Window  *bucket.Window // of a sliding window, at now: use by others; Copy.Units also has this node's
	Nodes   int64          // members of the cluster
	Sharers int64          // how many nodes share one fallback's part: 1 for the node that should decide
	Fork    Fork           // the usage bound that is known
}

// fallbackLimit returns the limit of a fallback node's own part. If messages are lost,
// nodes may disagree on which of them should decide: all nodes but the rightful one share
// one part; of a small burst each gets 0.
func (b *FallbackBucket) fallbackLimit() bucket.Limit {
	among := max(1, b.Sharers)
	p := Part(b.Limit, b.Nodes*among, fallbackBurst*among)
	if among > 1 {
		p.Burst = b.Limit.Burst / (fallbackBurst * among)
	}
	return p
}

// Fits reports whether cost has room at now: in the copy with all usage that is known
// to be missing there, and in the node's own budget. The budget is never granted
// again, however often the owner comes and goes.
func (f *Fallback) Fits(b FallbackBucket, cost int64, now time.Duration) bool {
	f.resize(b)
	part := b.fallbackLimit()
	f.budget = f.budget.Decay(part, now)
	f.budget.At = now
	return b.Copy.Add(b.Pending).Room(b.Limit, cost) && f.budget.Room(part, cost)
}

// resize rounds the budgets up when the number of members or of sharers changes, and
// with it their denominator.
func (f *Fallback) resize(b FallbackBucket) {
	if f.nodes == b.Nodes && f.sharers == b.Sharers {
		return
	}
	f.nodes, f.sharers = b.Nodes, b.Sharers
	for _, s := range []*bucket.State{&f.budget, &f.share} {
		if s.Frac > 0 {
			s.Units, s.Frac = s.Units+1, 0
		}
	}
}

// Admit counts what Fits had room for.
func (f *Fallback) Admit(b FallbackBucket, cost int64, now time.Duration) {
	f.budget = f.budget.Add(cost)
	f.count(b, cost, now)
}

// ShareFits reports whether cost has room at now in the share of a node that is cut
// off: one of Nodes parts of burst and rate. The share begins with the same part of
// the debt of the copy.
func (f *Fallback) ShareFits(b FallbackBucket, cost int64, now time.Duration) bool {
	f.resize(b)
	part := Part(b.Limit, b.Nodes, b.Nodes)
	if b.Window != nil {
		w := f.shareWindow(b, now)
		return w.Use(b.Limit, now)+cost <= part.Burst
	}
	if !f.shareBegun {
		f.shareBegun = true
		// What the node admitted before it knew that it is cut off counts in its share.
		f.share = bucket.State{Units: (b.Copy.Units+b.Pending+b.Nodes-1)/b.Nodes + f.budget.Units, At: now}
	}
	f.share = f.share.Decay(part, now)
	f.share.At = now
	return f.share.Room(part, cost)
}

// shareWindow returns the use of the share of a sliding window at now: one of Nodes
// parts of what all others have admitted, and all that this node has.
func (f *Fallback) shareWindow(b FallbackBucket, now time.Duration) bucket.Window {
	w := b.Window.At(b.Limit, now).Part(b.Nodes)
	if f.window != nil {
		w = w.Join(f.window.At(b.Limit, now))
	}
	return w
}

// AdmitShare counts what ShareFits had room for.
func (f *Fallback) AdmitShare(b FallbackBucket, cost int64, now time.Duration) {
	f.share = f.share.Add(cost)
	f.count(b, cost, now)
}

// AdmitFull counts what a node that is cut off admits if the policy is Full.
func (f *Fallback) AdmitFull(b FallbackBucket, cost int64, now time.Duration) { f.count(b, cost, now) }

func (f *Fallback) count(b FallbackBucket, cost int64, now time.Duration) {
	if f.Units == f.absorbed {
		f.Since, f.fork = now, b.Fork
	}
	f.Units += cost
	if b.Window != nil {
		if f.window == nil {
			f.window = &fallbackWindow{}
		}
		f.window.limit = b.Limit
		f.window.Add(b.Limit, cost, now)
	}
}

// Wait returns how long from now until the part has room for cost again. now is that
// of the last Fits or ShareFits.
func (f *Fallback) Wait(b FallbackBucket, cut bool, cost int64, now time.Duration) time.Duration {
	if cut && b.Window != nil {
		w, part := f.shareWindow(b, now), Part(b.Limit, b.Nodes, b.Nodes)
		part.Limit, part.Window = part.Burst, b.Limit.Window
		return w.Wait(part, cost, now)
	}
	if cut {
		return f.share.Wait(Part(b.Limit, b.Nodes, b.Nodes), cost)
	}
	return f.budget.Wait(b.fallbackLimit(), cost)
}

// Usage returns the usage that the owner must hear of, and false if it has absorbed
// all.
func (f *Fallback) Usage(now time.Duration) (FallbackUsage, bool) {
	r := FallbackUsage{SourceTotal: f.SourceTotal, Age: now - f.Since, Fork: f.fork}
	r.Fork.Age += r.Age
	if f.window != nil {
		r.Sliding = f.window.Relative(f.window.limit, now)
	}
	return r, f.Units > f.absorbed
}

// MarkAbsorbed notes how many units the owner has absorbed.
func (f *Fallback) MarkAbsorbed(units int64) { f.absorbed = max(f.absorbed, min(units, f.Units)) }

// Idle reports whether nothing must be remembered at now: all is absorbed, and the
// budgets are whole.
func (f *Fallback) Idle(b FallbackBucket, now time.Duration) bool {
	b.Sharers = max(1, f.sharers)
	if f.window != nil && f.window.Use(f.window.limit, now) > 0 {
		return false
	}
	return f.Units == f.absorbed && f.budget.Decay(b.fallbackLimit(), now).Idle() &&
		f.share.Decay(Part(b.Limit, b.Nodes, b.Nodes), now).Idle()
}

// Empty returns for how long a bucket has owed nothing by now. s is the state of the
// last touch.
func Empty(s bucket.State, window, now time.Duration) time.Duration {
	if s.Idle() {
		return max(0, now-s.At)
	}
	left := s.Reset(bucket.Limit{Limit: max(1, s.Rate), Window: window})
	return max(0, now-s.At-left)
}

// OwnedBucket is an owner's bucket, to which usage is added.
type OwnedBucket struct {
	Limit  bucket.Limit
	Use    bucket.State   // at now
	Empty  time.Duration  // for how long it has owed nothing by now
	Spent  int64          // units ever taken
	Window *bucket.Window // of a sliding window, at Use.At; Absorb adds to it
}

// Absorb adds the usage of a source to the owner's bucket, once. It returns the new
// state, and how many units were missing in it.
//
// Owed is what owner and source have admitted since the fork, less what has come back
// since, and at most two bursts. A source that knew of no usage bound is forgiven what
// an empty bucket would have given back. Units of a sliding window leave the window
// at the same time as the owner's own.
func (s *Stream) Absorb(o OwnedBucket, r FallbackUsage) (use bucket.State, missing int64) {
	use = o.Use
	if missing = r.missing(s.absorbed); missing == 0 {
		return use, 0
	}
	// A new list, because usage bounds on their way share the old one.
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
		// This owner began without a copy of what the source knew.
		owed = f.Units + s.own.Units + missing - refill(o.Limit, f.Age)
	} else if f.Spent >= 0 {
		owed = min(owed, f.Units+o.Spent-f.Spent+missing-refill(o.Limit, f.Age))
	} else if use.Idle() {
		owed = missing - min(missing, refill(o.Limit, min(r.Age, o.Empty)))
	}
	use.Units = max(use.Units, min(2*o.Limit.Burst, owed))
	return use, missing
}

// Absorbed returns what is in the bucket, by source: what was absorbed, and what its
// owner admitted.
func (s *Stream) Absorbed() []SourceTotal {
	if s.own.Units == 0 {
		return s.absorbed
	}
	return Union(s.absorbed, []SourceTotal{s.own})
}

// Inherit adds what a copy says was absorbed, for a new owner.
func (s *Stream) Inherit(absorbed []SourceTotal) { s.absorbed = Union(s.absorbed, absorbed) }
