package exchange

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"quorate/limiter"
	"quorate/limiter/bucket"
	"quorate/limiter/replica"
)

// Bounds of what other nodes send.
const (
	maxBatch   = 4096               // usage bounds or fallback usage in a message
	maxBuckets = 65536              // buckets in a message
	maxTotals  = replica.MaxSources // fallback usage of one bucket
	maxParts   = 65536              // partitions
	maxScope   = bucket.MaxModel + 32
	maxUnits   = math.MaxInt64 / 4 // of one bucket: sums stay in range
	maxSlot    = maxUnits / 64     // likewise of one part of a sliding window
)

// ErrMessage is wrapped by the errors of a message that no node of ours sends.
var ErrMessage = errors.New("bad message")

// writer encodes and remembers the first error.
type writer struct {
	buf bytes.Buffer
	enc *msgpack.Encoder
	err error
}

func newWriter() *writer {
	w := &writer{}
	w.enc = msgpack.NewEncoder(&w.buf)
	return w
}

func (w *writer) array(n int)            { w.note(w.enc.EncodeArrayLen(n)) }
func (w *writer) uint(n uint64)          { w.note(w.enc.EncodeUint(n)) }
func (w *writer) int(n int64)            { w.note(w.enc.EncodeInt(n)) }
func (w *writer) span(d time.Duration)   { w.int(int64(d)) }
func (w *writer) bool(b bool)            { w.note(w.enc.EncodeBool(b)) }
func (w *writer) string(s string)        { w.note(w.enc.EncodeString(s)) }
func (w *writer) note(err error)         { w.err = errors.Join(w.err, err) }
func (w *writer) bytes() ([]byte, error) { return w.buf.Bytes(), w.err }

// append writes the array whose n elements another writer has written.
func (w *writer) append(n int, body *writer) {
	w.array(n)
	w.note(body.err)
	w.buf.Write(body.buf.Bytes())
}

func (w *writer) id(id bucket.ID) {
	w.string(id.Account)
	w.string(id.Scope)
	w.uint(uint64(id.Unit) | uint64(id.Algorithm)<<1)
	w.span(id.Window)
}

func (w *writer) state(s bucket.State) {
	w.int(s.Units)
	w.int(s.Frac)
	w.int(s.Rate)
}

func (w *writer) partitions(list []int) {
	w.array(len(list))
	for _, p := range list {
		w.uint(uint64(p))
	}
}

// sliding writes a sliding window; nothing of a bucket that is none.
func (w *writer) sliding(id bucket.ID, s *bucket.Window) {
	if id.Algorithm != bucket.SlidingWindow {
		return
	}
	if s == nil {
		s = &bucket.Window{}
	}
	w.span(max(0, -s.Begin))
	for _, n := range s.Units {
		w.int(n)
	}
}

func (w *writer) totals(list []replica.SourceTotal) {
	w.array(len(list))
	for _, c := range list {
		w.uint(c.Source)
		w.int(c.Units)
	}
}

func (w *writer) usage(id bucket.ID, r replica.FallbackUsage) {
	w.uint(r.Source)
	w.int(r.Units)
	w.span(r.Age)
	w.int(r.Fork.Spent)
	w.int(r.Fork.Units)
	w.span(r.Fork.Age)
	w.sliding(id, r.Sliding)
}

func (w *writer) limit(l bucket.Limit) {
	w.int(l.Limit)
	w.int(l.Burst)
}

func (w *writer) bound(s *limiter.UsageBound) {
	w.id(s.ID)
	w.uint(uint64(s.Origin))
	w.uint(s.Seq)
	w.state(s.State)
	w.sliding(s.ID, s.Sliding)
	w.int(s.Spent)
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
	w.int(k.Spent)
	w.totals(k.Absorbed)
	w.limit(k.Limit)
	w.array(len(k.Usages))
	for _, r := range k.Usages {
		w.usage(k.ID, r)
	}
}

func (w *writer) reservation(r *limiter.ReservationSnapshot) {
	w.string(r.ID)
	w.string(r.Account)
	w.span(r.Age)
	w.array(len(r.Holds))
	for _, t := range r.Holds {
		w.id(bucket.ID{Scope: t.Scope, Unit: t.Limit.Unit, Algorithm: t.Limit.Algorithm, Window: t.Limit.Window})
		w.limit(t.Limit)
		w.int(t.Units)
	}
	w.bool(r.Settled != nil)
	if r.Settled != nil {
		w.note(r.Settled.EncodeMsgpack(w.enc))
	}
}

// reader decodes, checks every bound and remembers the first error.
type reader struct {
	in  *bytes.Reader
	dec *msgpack.Decoder
	err error
}

func newReader(b []byte) *reader {
	r := &reader{in: bytes.NewReader(b)}
	r.dec = msgpack.NewDecoder(r.in)
	return r
}

func (r *reader) array(most int) (n int) {
	if r.err != nil {
		return 0
	}
	if n, r.err = bucket.ReadLen(r.dec, -most); r.err != nil {
		return 0
	}
	return n
}

// list reads at most so many elements. It allocates for what has been read, not for
// what is promised.
func list[T any](r *reader, most int, read func() T) (out []T) {
	for n := r.array(most); n > 0; n-- {
		v := read()
		if r.err != nil {
			return nil
		}
		out = append(out, v)
	}
	return out
}

func (r *reader) uint() (n uint64) {
	if r.err == nil {
		n, r.err = r.dec.DecodeUint64()
	}
	return n
}

// int reads a number from least to most.
func (r *reader) int(least, most int64) (n int64) {
	if r.err == nil {
		if n, r.err = r.dec.DecodeInt64(); r.err == nil && (n < least || n > most) {
			r.err = fmt.Errorf("%w: %d, want %d to %d", ErrMessage, n, least, most)
		}
	}
	if r.err != nil {
		return least
	}
	return n
}

func (r *reader) units() int64 { return r.int(0, maxUnits) }

// span reads a length of time, at most a century.
func (r *reader) span() time.Duration {
	return time.Duration(r.int(0, int64(100*365*24*time.Hour)))
}

func (r *reader) bool() (b bool) {
	if r.err == nil {
		b, r.err = r.dec.DecodeBool()
	}
	return b
}

func (r *reader) string(most int) (s string) {
	if r.err == nil {
		s, r.err = bucket.ReadString(r.dec, most)
	}
	return s
}

func (r *reader) id() bucket.ID {
	id := bucket.ID{Account: r.string(bucket.MaxAccount), Scope: r.string(maxScope)}
	kind := r.int(0, int64(bucket.Tokens)|int64(bucket.SlidingWindow)<<1)
	id.Unit, id.Algorithm = bucket.Unit(kind&1), bucket.Algorithm(kind>>1)
	id.Window = time.Duration(r.int(int64(time.Second), int64(bucket.MaxWindow)))
	return id
}

// sliding reads a sliding window; nil of a bucket that is none.
func (r *reader) sliding(id bucket.ID) *bucket.Window {
	if id.Algorithm != bucket.SlidingWindow {
		return nil
	}
	s := &bucket.Window{Begin: -time.Duration(r.int(0, int64(id.Window)))}
	for i := range s.Units {
		s.Units[i] = r.int(0, maxSlot)
	}
	return s
}

func (r *reader) state(window time.Duration) bucket.State {
	return bucket.State{Units: r.units(), Frac: r.int(0, int64(window)-1), Rate: r.int(0, bucket.MaxLimit)}
}

func (r *reader) totals() []replica.SourceTotal {
	return list(r, maxTotals, func() replica.SourceTotal {
		return replica.SourceTotal{Source: r.uint(), Units: r.int(-maxUnits, maxUnits)}
	})
}

func (r *reader) usage(id bucket.ID) replica.FallbackUsage {
	return replica.FallbackUsage{
		SourceTotal: replica.SourceTotal{Source: r.uint(), Units: r.units()}, Age: r.span(),
		Fork:    replica.Fork{Spent: r.int(-1, maxUnits), Units: r.int(-maxUnits, maxUnits), Age: r.span()},
		Sliding: r.sliding(id),
	}
}

func (r *reader) limit(id bucket.ID) bucket.Limit {
	l := id.Limit()
	l.Limit, l.Burst = r.int(0, bucket.MaxLimit), r.int(0, bucket.MaxLimit)
	return l
}

func (r *reader) bound() (s limiter.UsageBound) {
	s.ID = r.id()
	s.Origin, s.Seq = replica.OriginEpoch(r.uint()), r.uint()
	s.State = r.state(s.Window)
	s.Sliding = r.sliding(s.ID)
	s.Spent = r.int(-maxUnits, maxUnits)
	s.Absorbed = r.totals()
	return s
}

// nonZeroLimit reads a limit that is not zero.
func (r *reader) nonZeroLimit(id bucket.ID) bucket.Limit {
	l := r.limit(id)
	if r.err == nil && l.Limit == 0 {
		r.err = fmt.Errorf("%w: no limit", ErrMessage)
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
	k.Spent = r.int(-maxUnits, maxUnits)
	k.Absorbed = r.totals()
	k.Limit = r.limit(k.ID)
	k.Usages = list(r, maxTotals, func() replica.FallbackUsage { return r.usage(k.ID) })
	return k
}

func (r *reader) reservation() (v limiter.ReservationSnapshot) {
	v.ID, v.Account, v.Age = r.string(bucket.MaxReservation), r.string(bucket.MaxAccount), r.span()
	v.Holds = list(r, maxHolds, func() limiter.Hold {
		id := r.id()
		return limiter.Hold{Scope: id.Scope, Limit: r.nonZeroLimit(id), Units: r.int(0, bucket.MaxCost)}
	})
	if r.bool() && r.err == nil {
		v.Settled = new(bucket.Settlement)
		r.err = v.Settled.DecodeMsgpack(r.dec)
	}
	return v
}

// end returns the first error, or that something is left.
func (r *reader) end() error {
	if r.err == nil && r.in.Len() > 0 {
		return fmt.Errorf("%w: %d bytes too many", ErrMessage, r.in.Len())
	}
	return r.err
}
