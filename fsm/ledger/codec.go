package ledger

import (
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"quorate/limiter/bucket"
)

// writer encodes values one after the other and keeps the first error.
type writer struct {
	e   *msgpack.Encoder
	err error
}

func (w *writer) do(err error) {
	if w.err == nil {
		w.err = err
	}
}
func (w *writer) array(n int)     { w.do(w.e.EncodeArrayLen(n)) }
func (w *writer) uint(v uint64)   { w.do(w.e.EncodeUint(v)) }
func (w *writer) int(v int64)     { w.do(w.e.EncodeInt(v)) }
func (w *writer) bool(v bool)     { w.do(w.e.EncodeBool(v)) }
func (w *writer) string(v string) { w.do(w.e.EncodeString(v)) }
func (w *writer) bytes(v []byte)  { w.do(w.e.EncodeBytes(v)) }

// reader decodes values one after the other, keeps the first error and then
// returns zeros. Every length is checked before anything is allocated for it.
type reader struct {
	d   *msgpack.Decoder
	err error
}

func (r *reader) array(want int) { r.len(want) }

// arrayUpTo reads an array header of at most most elements.
func (r *reader) arrayUpTo(most int) int { return r.len(-most) }

func (r *reader) len(want int) (n int) {
	if r.err == nil {
		n, r.err = bucket.ReadLen(r.d, want)
	}
	return n
}

func (r *reader) uint() (v uint64) {
	if r.err == nil {
		v, r.err = r.d.DecodeUint64()
	}
	return v
}

func (r *reader) int() (v int64) {
	if r.err == nil {
		v, r.err = r.d.DecodeInt64()
	}
	return v
}

func (r *reader) bool() (v bool) {
	if r.err == nil {
		v, r.err = r.d.DecodeBool()
	}
	return v
}

func (r *reader) string(most int) (v string) {
	if r.err == nil {
		v, r.err = bucket.ReadString(r.d, most)
	}
	return v
}

// small reads an unsigned number below limit; 0 where it is not.
func (r *reader) small(limit int) uint8 {
	v := r.uint()
	if r.err == nil && v >= uint64(limit) {
		r.err = fmt.Errorf("number %d, want less than %d: %w", v, limit, bucket.ErrTooLong)
		return 0
	}
	return uint8(v)
}

func (a *Account) encode(w *writer) {
	w.array(9)
	w.string(a.ID)
	w.uint(uint64(a.Plan))
	w.bool(a.Suspended)
	w.int(int64(a.Lifetime))
	w.int(int64(a.Free))
	w.int(int64(a.Purchased))
	w.int(int64(a.OpenBill))
	w.int(int64(a.UsageLimit))
	encodeOverrides(w, a.Overrides)
}

func (a *Account) decode(r *reader) {
	r.array(9)
	a.ID = r.string(bucket.MaxAccount)
	a.Plan = Plan(r.small(len(planNames)))
	a.Suspended = r.bool()
	a.Lifetime = Micros(r.int())
	a.Free = Micros(r.int())
	a.Purchased = Micros(r.int())
	a.OpenBill = Micros(r.int())
	a.UsageLimit = Micros(r.int())
	a.Overrides = decodeOverrides(r)
}
