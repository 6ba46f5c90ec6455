package exchange

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"quorate/limiter"
	"quorate/limiter/bucket"
	"quorate/limiter/codec"
	"quorate/limiter/replica"
)

// Bounds of what other nodes send.
const (
	maxBatch   = 4096               // usage bounds or fallback usage in a message
	maxBuckets = 65536              // buckets in a message
	maxTotals  = replica.MaxSources // sources of one bucket
	maxParts   = 65536              // partitions
	maxScope   = bucket.MaxModel + 32
	maxUnits   = math.MaxInt64 / 4 // of one bucket: sums stay in range
	maxSlot    = maxUnits / 64     // likewise of one part of a sliding window
)

// ErrMessage is wrapped by the errors of a message, or of an answer, that cannot be
// one of this version or of an earlier one.
var ErrMessage = errors.New("bad message")

// writer writes what nodes exchange of buckets.
type writer struct{ *codec.Writer }

func newWriter() *writer { return &writer{codec.NewWriter()} }

func (w *writer) span(d time.Duration) { w.Int(int64(d)) }

// append writes the array whose n elements another writer has written.
func (w *writer) append(n int, body *writer) {
	w.Array(n)
	b, err := body.Finish()
	w.Fail(err)
	w.Raw(b)
}

func (w *writer) id(id bucket.ID) {
	w.String(id.Account)
	w.String(id.Scope)
	w.Uint(uint64(id.Unit) | uint64(id.Algorithm)<<1)
	w.span(id.Window)
}

func (w *writer) state(s bucket.State) {
	w.Int(s.Units)
	w.Int(s.Frac)
	w.Int(s.Rate)
}

func (w *writer) partitions(list []int) {
	w.Array(len(list))
	for _, p := range list {
		w.Uint(uint64(p))
	}
}

// sliding writes a sliding window, and nothing for a token bucket.
func (w *writer) sliding(id bucket.ID, s *bucket.Window) {
	if id.Algorithm != bucket.SlidingWindow {
		return
	}
	if s == nil {
		s = &bucket.Window{}
	}
	w.span(max(0, -s.Begin))
	for _, n := range s.Units {
		w.Int(n)
	}
}

func (w *writer) totals(list []replica.SourceTotal) {
	w.Array(len(list))
	for _, c := range list {
		w.Uint(c.Source)
		w.Int(c.Units)
	}
}

func (w *writer) usage(id bucket.ID, r replica.FallbackUsage) {
	w.Uint(r.Source)
	w.Int(r.Units)
	w.span(r.Age)
	w.Int(r.Fork.Spent)
	w.Int(r.Fork.Units)
	w.span(r.Fork.Age)
	w.sliding(id, r.Sliding)
}

func (w *writer) limit(l bucket.Limit) {
	w.Int(l.Limit)
	w.Int(l.Burst)
}

func (w *writer) bound(s *limiter.UsageBound) {
	w.id(s.ID)
	w.Uint(uint64(s.Origin))
	w.Uint(s.Seq)
	w.state(s.State)
	w.sliding(s.ID, s.Sliding)
	w.Int(s.Spent)
	w.totals(s.Absorbed)
}

func (w *writer) fallbackUsage(t *limiter.FallbackUsage) {
	w.id(t.ID)
	w.limit(t.Limit)
	w.usage(t.ID, t.FallbackUsage)
}

func (w *writer) bucket(k *limiter.BucketSnapshot) {
	w.id(k.ID)
	w.state(k.State)
	w.sliding(k.ID, k.Sliding)
	w.span(k.Empty)
	w.Int(k.Spent)
	w.totals(k.Absorbed)
	w.limit(k.Limit)
	w.Array(len(k.Usages))
	for _, r := range k.Usages {
		w.usage(k.ID, r)
	}
}

func (w *writer) reservation(r *limiter.ReservationSnapshot) {
	w.String(r.ID)
	w.String(r.Account)
	w.span(r.Age)
	w.Array(len(r.Holds))
	for _, t := range r.Holds {
		w.id(bucket.ID{Account: take(&t), Scope: t.Scope, Unit: t.Limit.Unit, Algorithm: t.Limit.Algorithm, Window: t.Limit.Window})
		w.limit(t.Limit)
		w.Int(t.Units)
	}
	w.Bool(r.Settled != nil)
	if r.Settled != nil {
		r.Settled.Encode(w.Writer)
	}
}

// take returns the number of a hold's take and the lowest debt since. It is written where
// earlier versions write nothing and read without looking at it: the account of a
// bucket's id, which is that of the reservation.
func take(h *limiter.Hold) string {
	if h.Take == 0 {
		return ""
	}
	return strconv.FormatUint(h.Take, 36) + "." + strconv.FormatInt(h.Low, 36)
}

// reader reads what a writer has written and refuses what no node of ours sends.
type reader struct{ *codec.Reader }

func newReader(b []byte) *reader { return &reader{codec.NewReader(b)} }

func (r *reader) units() int64 { return r.IntIn(0, maxUnits) }

// span reads a length of time, at most a century.
func (r *reader) span() time.Duration {
	return time.Duration(r.IntIn(0, int64(100*365*24*time.Hour)))
}

func (r *reader) id() bucket.ID {
	id := bucket.ID{Account: r.String(bucket.MaxAccount), Scope: r.String(maxScope)}
	kind := r.IntIn(0, int64(bucket.Tokens)|int64(bucket.SlidingWindow)<<1)
	id.Unit, id.Algorithm = bucket.Unit(kind&1), bucket.Algorithm(kind>>1)
	id.Window = time.Duration(r.IntIn(int64(time.Second), int64(bucket.MaxWindow)))
	if id.Window%time.Second != 0 {
		r.Fail(fmt.Errorf("window %s, want whole seconds: %w", id.Window, codec.ErrBounds))
	}
	return id
}

// sliding reads a sliding window; nil for a token bucket.
func (r *reader) sliding(id bucket.ID) *bucket.Window {
	if id.Algorithm != bucket.SlidingWindow {
		return nil
	}
	s := &bucket.Window{Begin: -time.Duration(r.IntIn(0, int64(id.Window)))}
	for i := range s.Units {
		s.Units[i] = r.IntIn(0, maxSlot)
	}
	return s
}

func (r *reader) state(window time.Duration) bucket.State {
	return bucket.State{Units: r.units(), Frac: r.IntIn(0, int64(window)-1), Rate: r.IntIn(0, bucket.MaxLimit)}
}

func (r *reader) totals() []replica.SourceTotal {
	return codec.List(r.Reader, maxTotals, func() replica.SourceTotal {
		return replica.SourceTotal{Source: r.Uint(), Units: r.IntIn(-maxUnits, maxUnits)}
	})
}

func (r *reader) usage(id bucket.ID) replica.FallbackUsage {
	return replica.FallbackUsage{
		SourceTotal: replica.SourceTotal{Source: r.Uint(), Units: r.units()}, Age: r.span(),
		Fork:    replica.Fork{Spent: r.IntIn(-1, maxUnits), Units: r.IntIn(-maxUnits, maxUnits), Age: r.span()},
		Sliding: r.sliding(id),
	}
}

func (r *reader) limit(id bucket.ID) bucket.Limit {
	l := id.Limit()
	l.Limit, l.Burst = r.IntIn(0, bucket.MaxLimit), r.IntIn(0, bucket.MaxLimit)
	return l
}

func (r *reader) bound() (s limiter.UsageBound) {
	s.ID = r.id()
	s.Origin, s.Seq = replica.OriginEpoch(r.Uint()), r.Uint()
	s.State = r.state(s.Window)
	s.Sliding = r.sliding(s.ID)
	s.Spent = r.IntIn(-maxUnits, maxUnits)
	s.Absorbed = r.totals()
	return s
}

// nonZeroLimit reads a limit that is not zero.
func (r *reader) nonZeroLimit(id bucket.ID) bucket.Limit {
	l := r.limit(id)
	if l.Limit == 0 {
		r.Fail(fmt.Errorf("no limit: %w", codec.ErrBounds))
	}
	return l
}

func (r *reader) fallbackUsage() (t limiter.FallbackUsage) {
	t.ID = r.id()
	t.Limit = r.nonZeroLimit(t.ID)
	t.FallbackUsage = r.usage(t.ID)
	return t
}

func (r *reader) bucket() (k limiter.BucketSnapshot) {
	k.ID = r.id()
	k.State = r.state(k.Window)
	k.Sliding = r.sliding(k.ID)
	k.Empty = r.span()
	k.Spent = r.IntIn(-maxUnits, maxUnits)
	k.Absorbed = r.totals()
	k.Limit = r.limit(k.ID)
	k.Usages = codec.List(r.Reader, maxTotals, func() replica.FallbackUsage { return r.usage(k.ID) })
	return k
}

func (r *reader) reservation() (v limiter.ReservationSnapshot) {
	v.ID, v.Account, v.Age = r.String(bucket.MaxReservation), r.String(bucket.MaxAccount), r.span()
	v.Holds = codec.List(r.Reader, maxHolds, func() limiter.Hold {
		id := r.id()
		h := limiter.Hold{Scope: id.Scope, Limit: r.nonZeroLimit(id), Units: r.IntIn(0, bucket.MaxCost)}
		r.take(&h, id.Account)
		return h
	})
	if r.Bool() {
		v.Settled = new(bucket.Settlement)
		v.Settled.Decode(r.Reader)
	}
	return v
}

// take reads what take has written; an earlier version's owner writes nothing.
func (r *reader) take(h *limiter.Hold, s string) {
	if s == "" {
		return
	}
	number, low, _ := strings.Cut(s, ".")
	var errNumber, errLow error
	h.Take, errNumber = strconv.ParseUint(number, 36, 64)
	h.Low, errLow = strconv.ParseInt(low, 36, 64)
	if errNumber != nil || errLow != nil || h.Take == 0 || h.Low < 0 || h.Low > maxUnits {
		r.Fail(fmt.Errorf("take %q of a hold: %w", s, codec.ErrBounds))
	}
}
