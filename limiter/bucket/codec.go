package bucket

import (
	"fmt"
	"math"
	"time"

	"quorate/limiter/codec"
)

// Bounds on the strings of a check, in bytes.
const (
	MaxAccount  = 128
	MaxCategory = 64
	MaxModel    = 256
	maxLimits   = 64 // limits one decision may name
	maxName     = MaxModel + 32
)

const nanosPerMicro = 1000

// Encode writes the check as an array of eight.
func (c *Check) Encode(w *codec.Writer) {
	w.Array(8)
	w.String(c.Account)
	w.String(c.Model)
	w.String(c.Category)
	w.Int(c.Requests)
	w.Int(c.Tokens)
	w.Bool(c.DryRun)
	w.Bool(c.Reserve)
	w.Uint(c.MinIndex)
}

// Decode reads what Encode wrote and refuses what is out of bounds.
func (c *Check) Decode(r *codec.Reader) {
	r.Array(8)
	c.Account = r.String(MaxAccount)
	c.Model = r.String(MaxModel)
	c.Category = r.String(MaxCategory)
	c.Requests = r.IntIn(0, MaxCost)
	c.Tokens = r.IntIn(0, MaxCost)
	c.DryRun = r.Bool()
	c.Reserve = r.Bool()
	c.MinIndex = r.Uint()
}

// Encode writes the decision as an array of thirteen.
func (v *Decision) Encode(w *codec.Writer) {
	w.Array(13)
	w.Int(int64(v.Reason))
	w.Int(int64(v.Tier))
	w.String(v.Category)
	w.Int(int64(v.RequiredTier))
	encodeMoney(w, v.SpendNeeded)
	w.Int(int64(v.Hit))
	w.Int(int64(v.RetryAfter))
	w.Bool(v.NeverFits)
	w.String(v.Reservation)
	w.String(v.DecidedBy)
	w.Bool(v.Degraded)
	w.Uint(v.Index)
	w.Array(len(v.Limits))
	for i := range v.Limits {
		v.Limits[i].encode(w)
	}
}

// Decode reads what Encode wrote. It keeps the memory of v.Limits.
func (v *Decision) Decode(r *codec.Reader) {
	r.Array(13)
	v.Reason = Reason(r.Below(int(NumReasons)))
	v.Tier = codec.Int[int](r)
	v.Category = r.String(MaxCategory)
	v.RequiredTier = codec.Int[int](r)
	v.SpendNeeded = decodeMoney(r)
	v.Hit = codec.Int[int](r)
	v.RetryAfter = time.Duration(r.Int())
	v.NeverFits = r.Bool()
	v.Reservation = r.String(MaxReservation)
	v.DecidedBy = r.String(MaxAccount)
	v.Degraded = r.Bool()
	v.Index = r.Uint()
	n := r.ArrayUpTo(maxLimits)
	if v.Limits = v.Limits[:0]; cap(v.Limits) < n {
		v.Limits = make([]Status, 0, n)
	}
	for range n {
		var s Status
		s.decode(r)
		v.Limits = append(v.Limits, s)
	}
	if v.Hit < -1 || v.Hit >= n {
		r.Fail(fmt.Errorf("hit %d of %d limits: %w", v.Hit, n, codec.ErrBounds))
	}
}

// encode writes one limit's status. The name travels, its parts follow from
// the numbers.
func (s *Status) encode(w *codec.Writer) {
	w.Array(10)
	w.String(s.Name)
	w.Int(int64(s.Unit))
	w.Int(int64(s.Algorithm))
	w.Int(s.Limit.Limit)
	w.Int(s.Burst)
	w.Int(int64(s.Window))
	w.Int(int64(s.Source))
	w.Int(s.Remaining)
	w.Int(int64(s.Reset))
	w.Int(int64(s.Next))
}

func (s *Status) decode(r *codec.Reader) {
	r.Array(10)
	s.Name = r.String(maxName)
	s.Unit = codec.Int[Unit](r)
	s.Algorithm = codec.Int[Algorithm](r)
	s.Limit.Limit = r.Int()
	s.Burst = r.Int()
	s.Window = time.Duration(r.Int())
	s.Source = codec.Int[Source](r)
	s.Remaining = r.Int()
	s.Reset = time.Duration(r.Int())
	s.Next = time.Duration(r.Int())
	if s.Window < time.Second || s.Limit.Limit < 1 {
		r.Fail(fmt.Errorf("limit %d in %s: %w", s.Limit.Limit, s.Window, codec.ErrBounds))
	}
}

// encodeMoney writes an amount of nano-dollars, which is not negative: a whole number of
// micro-dollars as that number, as all programs read it, and any other one as its negative.
// Only clusters whose nodes all know nano-dollars have amounts of the second kind.
func encodeMoney(w *codec.Writer, nanos int64) {
	if nanos%nanosPerMicro == 0 {
		w.Int(nanos / nanosPerMicro)
		return
	}
	w.Int(-nanos)
}

func decodeMoney(r *codec.Reader) int64 {
	n := r.IntIn(-math.MaxInt64, math.MaxInt64/nanosPerMicro)
	if n < 0 {
		return -n
	}
	return n * nanosPerMicro
}

// Encode writes the settlement as an array of five.
func (s *Settlement) Encode(w *codec.Writer) {
	w.Array(5)
	w.String(s.Account)
	w.String(s.Reservation)
	w.Bool(s.Release)
	w.Int(s.Tokens)
	encodeMoney(w, s.Amount)
}

// Decode reads what Encode wrote and refuses what is out of bounds.
func (s *Settlement) Decode(r *codec.Reader) {
	r.Array(5)
	s.Account = r.String(MaxAccount)
	s.Reservation = r.String(MaxReservation)
	s.Release = r.Bool()
	s.Tokens = r.IntIn(0, MaxCost)
	s.Amount = decodeMoney(r)
}
