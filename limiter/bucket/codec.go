package bucket

import (
	"errors"
	"fmt"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Bounds on the strings of a check, in bytes.
const (
	MaxAccount  = 128
	MaxCategory = 64
	MaxModel    = 256
	maxLimits   = 64 // limits one decision may name
	maxName     = MaxModel + 32
)

// ErrTooLong is what a decoder returns for a length above its bound; it checks
// before it allocates, because the msgpack library itself trusts lengths.
var ErrTooLong = errors.New("length above its bound")

// ReadString decodes a string of at most most bytes.
func ReadString(d *msgpack.Decoder, most int) (string, error) {
	n, err := d.DecodeBytesLen()
	if err != nil || n <= 0 {
		return "", err
	}
	if n > most {
		return "", fmt.Errorf("string of %d bytes, at most %d: %w", n, most, ErrTooLong)
	}
	buf := make([]byte, n)
	if err := d.ReadFull(buf); err != nil {
		return "", err
	}
	return string(buf), nil
}

// ReadLen decodes an array header of exactly want elements, or at most -want
// when want is negative.
func ReadLen(d *msgpack.Decoder, want int) (int, error) {
	n, err := d.DecodeArrayLen()
	if err != nil {
		return 0, err
	}
	if n < 0 || (want >= 0 && n != want) || (want < 0 && n > -want) {
		return 0, fmt.Errorf("array of %d elements, want %d: %w", n, want, ErrTooLong)
	}
	return n, nil
}

// Fields runs decoders one after the other and stops at the first error.
func Fields(fns ...func() error) error {
	for _, fn := range fns {
		if err := fn(); err != nil {
			return err
		}
	}
	return nil
}

// Int decodes one integer into p and refuses one that p's type would cut.
func Int[T ~int | ~int64 | ~uint8](d *msgpack.Decoder, p *T) error {
	n, err := d.DecodeInt64()
	*p = T(n)
	if err == nil && int64(*p) != n {
		return fmt.Errorf("number %d: %w", n, ErrTooLong)
	}
	return err
}

// EncodeMsgpack writes the check as an array of eight.
func (c *Check) EncodeMsgpack(e *msgpack.Encoder) error {
	return Fields(
		func() error { return e.EncodeArrayLen(8) },
		func() error { return e.EncodeString(c.Account) },
		func() error { return e.EncodeString(c.Model) },
		func() error { return e.EncodeString(c.Category) },
		func() error { return e.EncodeInt(c.Requests) },
		func() error { return e.EncodeInt(c.Tokens) },
		func() error { return e.EncodeBool(c.DryRun) },
		func() error { return e.EncodeBool(c.Reserve) },
		func() error { return e.EncodeUint(c.MinIndex) },
	)
}

// DecodeMsgpack reads what EncodeMsgpack wrote and refuses what is out of
// bounds.
func (c *Check) DecodeMsgpack(d *msgpack.Decoder) (err error) {
	if _, err = ReadLen(d, 8); err != nil {
		return err
	}
	if c.Account, err = ReadString(d, MaxAccount); err != nil {
		return err
	}
	if c.Model, err = ReadString(d, MaxModel); err != nil {
		return err
	}
	if c.Category, err = ReadString(d, MaxCategory); err != nil {
		return err
	}
	if err = Fields(
		func() error { return Int(d, &c.Requests) },
		func() error { return Int(d, &c.Tokens) },
	); err != nil {
		return err
	}
	if c.DryRun, err = d.DecodeBool(); err != nil {
		return err
	}
	if c.Reserve, err = d.DecodeBool(); err != nil {
		return err
	}
	if c.MinIndex, err = d.DecodeUint64(); err != nil {
		return err
	}
	if c.Requests < 0 || c.Requests > MaxCost || c.Tokens < 0 || c.Tokens > MaxCost {
		return fmt.Errorf("cost out of bounds: %w", ErrTooLong)
	}
	return nil
}

// EncodeMsgpack writes the decision as an array of thirteen.
func (v *Decision) EncodeMsgpack(e *msgpack.Encoder) error {
	err := Fields(
		func() error { return e.EncodeArrayLen(13) },
		func() error { return e.EncodeInt(int64(v.Reason)) },
		func() error { return e.EncodeInt(int64(v.Tier)) },
		func() error { return e.EncodeString(v.Category) },
		func() error { return e.EncodeInt(int64(v.RequiredTier)) },
		func() error { return e.EncodeInt(v.SpendNeeded) },
		func() error { return e.EncodeInt(int64(v.Hit)) },
		func() error { return e.EncodeInt(int64(v.RetryAfter)) },
		func() error { return e.EncodeBool(v.NeverFits) },
		func() error { return e.EncodeString(v.Reservation) },
		func() error { return e.EncodeString(v.DecidedBy) },
		func() error { return e.EncodeBool(v.Degraded) },
		func() error { return e.EncodeUint(v.Index) },
		func() error { return e.EncodeArrayLen(len(v.Limits)) },
	)
	if err != nil {
		return err
	}
	for i := range v.Limits {
		if err := v.Limits[i].encode(e); err != nil {
			return err
		}
	}
	return nil
}

// DecodeMsgpack reads what EncodeMsgpack wrote.
func (v *Decision) DecodeMsgpack(d *msgpack.Decoder) (err error) {
	if _, err = ReadLen(d, 13); err != nil {
		return err
	}
	if err = Fields(
		func() error { return Int(d, &v.Reason) },
		func() error { return Int(d, &v.Tier) },
		func() error { v.Category, err = ReadString(d, MaxCategory); return err },
		func() error { return Int(d, &v.RequiredTier) },
		func() error { return Int(d, &v.SpendNeeded) },
		func() error { return Int(d, &v.Hit) },
		func() error { return Int(d, &v.RetryAfter) },
		func() error { v.NeverFits, err = d.DecodeBool(); return err },
		func() error { v.Reservation, err = ReadString(d, MaxReservation); return err },
		func() error { v.DecidedBy, err = ReadString(d, MaxAccount); return err },
		func() error { v.Degraded, err = d.DecodeBool(); return err },
		func() error { v.Index, err = d.DecodeUint64(); return err },
	); err != nil {
		return err
	}
	n, err := ReadLen(d, -maxLimits)
	if err != nil {
		return err
	}
	if v.Limits = v.Limits[:0]; n > 0 && cap(v.Limits) < n {
		v.Limits = make([]Status, 0, n)
	}
	for range n {
		var s Status
		if err := s.decode(d); err != nil {
			return err
		}
		v.Limits = append(v.Limits, s)
	}
	if v.Reason >= NumReasons || v.Hit < -1 || v.Hit >= n {
		return fmt.Errorf("decision out of bounds: %w", ErrTooLong)
	}
	return nil
}

// encode writes one limit's status. The name travels, its parts follow from
// the numbers.
func (s *Status) encode(e *msgpack.Encoder) error {
	return Fields(
		func() error { return e.EncodeArrayLen(10) },
		func() error { return e.EncodeString(s.Name) },
		func() error { return e.EncodeInt(int64(s.Unit)) },
		func() error { return e.EncodeInt(int64(s.Algorithm)) },
		func() error { return e.EncodeInt(s.Limit.Limit) },
		func() error { return e.EncodeInt(s.Burst) },
		func() error { return e.EncodeInt(int64(s.Window)) },
		func() error { return e.EncodeInt(int64(s.Source)) },
		func() error { return e.EncodeInt(s.Remaining) },
		func() error { return e.EncodeInt(int64(s.Reset)) },
		func() error { return e.EncodeInt(int64(s.Next)) },
	)
}

func (s *Status) decode(d *msgpack.Decoder) error {
	if _, err := ReadLen(d, 10); err != nil {
		return err
	}
	return Fields(
		func() (err error) { s.Name, err = ReadString(d, maxName); return err },
		func() error { return Int(d, &s.Unit) },
		func() error { return Int(d, &s.Algorithm) },
		func() error { return Int(d, &s.Limit.Limit) },
		func() error { return Int(d, &s.Burst) },
		func() error { return Int(d, &s.Window) },
		func() error { return Int(d, &s.Source) },
		func() error { return Int(d, &s.Remaining) },
		func() error { return Int(d, &s.Reset) },
		func() error { return Int(d, &s.Next) },
		func() error {
			if s.Window < time.Second || s.Limit.Limit < 1 {
				return fmt.Errorf("limit out of bounds: %w", ErrTooLong)
			}
			return nil
		},
	)
}

// EncodeMsgpack writes the settlement as an array of five.
func (s *Settlement) EncodeMsgpack(e *msgpack.Encoder) error {
	return Fields(
		func() error { return e.EncodeArrayLen(5) },
		func() error { return e.EncodeString(s.Account) },
		func() error { return e.EncodeString(s.Reservation) },
		func() error { return e.EncodeBool(s.Release) },
		func() error { return e.EncodeInt(s.Tokens) },
		func() error { return e.EncodeInt(s.Amount) },
	)
}

// DecodeMsgpack reads what EncodeMsgpack wrote and refuses what is out of
// bounds.
func (s *Settlement) DecodeMsgpack(d *msgpack.Decoder) error {
	if _, err := ReadLen(d, 5); err != nil {
		return err
	}
	return Fields(
		func() (err error) { s.Account, err = ReadString(d, MaxAccount); return err },
		func() (err error) { s.Reservation, err = ReadString(d, MaxReservation); return err },
		func() (err error) { s.Release, err = d.DecodeBool(); return err },
		func() error { return Int(d, &s.Tokens) },
		func() error { return Int(d, &s.Amount) },
		func() error {
			if s.Tokens < 0 || s.Tokens > MaxCost || s.Amount < 0 {
				return fmt.Errorf("settlement out of bounds: %w", ErrTooLong)
			}
			return nil
		},
	)
}
