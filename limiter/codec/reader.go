// Package codec reads and writes the bytes that nodes send each other and keep on
// disks. They are MessagePack.
//
// A Reader trusts nothing. It checks each length against a bound and against the
// bytes that are there before it takes memory for it, and it refuses a number that
// its type cannot hold. The MessagePack library below it does neither.
//
// A Reader and a Writer keep their first error. After an error a Reader returns
// zeros, so a caller reads a whole message and looks at Err once:
//
//	r := codec.NewReader(b)
//	r.Array(2)
//	id, boot := r.String(maxID), r.Uint()
//	return r.End()
//
// A message that later versions extend is an array with ArrayAtLeast: an old reader
// takes the elements that it knows and passes the rest over with Skip.
package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// ErrBounds is wrapped by the errors about a length or a number that is out of
// bounds.
var ErrBounds = errors.New("out of bounds")

// errCut is the error of a length that claims more bytes than are left.
var errCut = fmt.Errorf("the message is cut off: %w", ErrBounds)

// Reader reads one message. It must not be copied, and its methods must not
// overlap.
type Reader struct {
	b   []byte
	in  bytes.Reader // over b
	dec msgpack.Decoder
	err error
}

// NewReader returns a reader of b, which must not change while it is read. What the
// reader returns does not refer to b.
func NewReader(b []byte) *Reader {
	r := &Reader{}
	r.reset(b)
	return r
}

func (r *Reader) reset(b []byte) {
	r.b, r.err = b, nil
	r.in.Reset(b)
	r.dec.Reset(&r.in)
}

// Decoder is a value that can be read.
type Decoder interface{ Decode(r *Reader) }

var readers = sync.Pool{New: func() any { return &Reader{} }}

// Unmarshal reads b, all of it, into v.
func Unmarshal(b []byte, v Decoder) error {
	r := readers.Get().(*Reader)
	r.reset(b)
	v.Decode(r)
	err := r.End()
	r.reset(nil)
	readers.Put(r)
	return err
}

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// End returns the first error; without one it returns an error if bytes are left.
func (r *Reader) End() error {
	if n := r.Left(); r.err == nil && n > 0 {
		r.err = fmt.Errorf("%d bytes after the end of a message: %w", n, ErrBounds)
	}
	return r.err
}

// Left returns how many bytes are left.
func (r *Reader) Left() int { return r.in.Len() }

// Fail makes err the reader's error unless it has one.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *Reader) outOf(what string, n, least, most int64) {
	r.Fail(fmt.Errorf("%s %d, want %d to %d: %w", what, n, least, most, ErrBounds))
}

// first returns the first byte of the next value, 0 at the end.
func (r *Reader) first() byte {
	if n := r.in.Len(); n > 0 {
		return r.b[len(r.b)-n]
	}
	return 0
}

// take returns the next n bytes, which belong to the message.
func (r *Reader) take(n int) []byte {
	if r.err == nil && n > r.in.Len() {
		r.err = errCut
	}
	if r.err != nil {
		return nil
	}
	at := len(r.b) - r.in.Len()
	r.in.Reset(r.b[at+n:])
	return r.b[at : at+n]
}

// Array reads the head of an array of exactly n elements.
func (r *Reader) Array(n int) { r.array(n, n) }

// ArrayUpTo reads the head of an array of at most most elements, and returns how
// many there are; 0 after an error. Each element takes a byte at least, so there
// are no more of them than bytes left.
func (r *Reader) ArrayUpTo(most int) int { return r.array(0, most) }

// ArrayAtLeast reads the head of an array of which the first n elements are known,
// and returns how many follow those. The caller passes that number to Skip when it
// has read the first n.
func (r *Reader) ArrayAtLeast(n, most int) (more int) { return max(0, r.array(n, most)-n) }

func (r *Reader) array(least, most int) int {
	if r.err != nil {
		return 0
	}
	n, err := r.dec.DecodeArrayLen()
	switch {
	case err != nil:
		r.err = err
	case n < least || n > most:
		r.outOf("an array of", int64(n), int64(least), int64(most))
	case n > r.in.Len():
		r.err = errCut
	default:
		return n
	}
	return 0
}

// List reads an array of at most most elements with read, nil for none. It takes
// memory for what it has read, not for what the head of the array claims.
func List[T any](r *Reader, most int, read func() T) (list []T) {
	for n := r.ArrayUpTo(most); n > 0; n-- {
		v := read()
		if r.err != nil {
			return nil
		}
		list = append(list, v)
	}
	return list
}

// Skip passes over n values of any kind. It refuses arrays and maps that lie more
// than MaxDepth deep in one another.
func (r *Reader) Skip(n int) {
	for ; n > 0 && r.err == nil; n-- {
		rest, err := Skip(r.b[len(r.b)-r.in.Len():])
		if err != nil {
			r.err = err
			return
		}
		r.take(r.in.Len() - len(rest))
	}
}

// Uint reads a number that is not negative.
func (r *Reader) Uint() uint64 {
	if r.err != nil {
		return 0
	}
	c := r.first()
	n, err := r.dec.DecodeUint64()
	if err == nil && int64(n) < 0 && (c >= 0xd0 && c <= 0xd3 || c >= 0xe0) {
		// The library makes a large number of a negative one.
		err = fmt.Errorf("number %d, want none below 0: %w", int64(n), ErrBounds)
	}
	if err != nil {
		r.err = err
		return 0
	}
	return n
}

// Below reads a number from 0 to n-1; 0 after an error.
func (r *Reader) Below(n int) int {
	v := r.Uint()
	if v >= uint64(n) {
		r.outOf("number", int64(min(v, math.MaxInt64)), 0, int64(n-1))
		return 0
	}
	return int(v)
}

// Int reads a number.
func (r *Reader) Int() int64 {
	if r.err != nil {
		return 0
	}
	c := r.first()
	n, err := r.dec.DecodeInt64()
	if err == nil && n < 0 && c == 0xcf {
		// The library makes a negative number of a large one.
		err = fmt.Errorf("number %d, too large: %w", uint64(n), ErrBounds)
	}
	if err != nil {
		r.err = err
		return 0
	}
	return n
}

// IntIn reads a number from least to most; least after an error.
func (r *Reader) IntIn(least, most int64) int64 {
	n := r.Int()
	if r.err == nil && (n < least || n > most) {
		r.outOf("number", n, least, most)
	}
	if r.err != nil {
		return least
	}
	return n
}

// Int reads a number of type T, and refuses one that T cannot hold.
func Int[T ~int | ~int64 | ~uint8](r *Reader) T {
	n := r.Int()
	if int64(T(n)) != n {
		r.Fail(fmt.Errorf("number %d does not fit: %w", n, ErrBounds))
		return 0
	}
	return T(n)
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	if r.err != nil {
		return false
	}
	v, err := r.dec.DecodeBool()
	if err != nil {
		r.err = err
		return false
	}
	return v
}

// String reads a string of at most most bytes.
func (r *Reader) String(most int) string {
	b, _ := r.data(0, most)
	return string(b)
}

// Bytes reads at most most bytes; nil for a nil slice.
func (r *Reader) Bytes(most int) []byte {
	b, null := r.data(0, most)
	if null || r.err != nil {
		return nil
	}
	return append([]byte{}, b...)
}

// Fill reads exactly as many bytes as dst has.
func (r *Reader) Fill(dst []byte) {
	b, _ := r.data(len(dst), len(dst))
	copy(dst, b)
}

// data returns the bytes of a string or of bytes, which belong to the message.
func (r *Reader) data(least, most int) (b []byte, null bool) {
	if r.err != nil {
		return nil, false
	}
	n, err := r.dec.DecodeBytesLen()
	if err != nil {
		r.err = err
		return nil, false
	}
	if null, n = n < 0, max(n, 0); n < least || n > most {
		r.outOf("a length of", int64(n), int64(least), int64(most))
		return nil, false
	}
	return r.take(n), null
}

// Byte reads one byte, such as the kind of a message in front of its values.
func (r *Reader) Byte() byte {
	if b := r.take(1); r.err == nil {
		return b[0]
	}
	return 0
}
