// Package filter checks messages before the decoders of Raft's transport and of
// memberlist read them. Those decoders allocate what a length claims, and some values
// make them panic. The filter passes a message on if it is complete, of bounded size
// and depth, and contains only values that its decoder can handle.
package filter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"quorate/limiter/codec"
)

// ErrRefused is wrapped by every error about a message that is not passed on.
var ErrRefused = errors.New("message refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// scan appends one complete value to buf, which must not grow beyond limit. It allocates
// for the bytes that have arrived, never for a claimed length.
func scan(in *bufio.Reader, buf []byte, limit int) ([]byte, error) {
	return scanAt(in, buf, limit, 0)
}

func scanAt(in *bufio.Reader, buf []byte, limit, depth int) ([]byte, error) {
	b, err := in.ReadByte()
	if err != nil {
		return buf, err
	}
	s, ok := codec.ShapeOf(b)
	if !ok {
		return buf, refuse("byte %#x begins no value", b)
	}
	buf = append(buf, b)
	n := 0
	if s.Length > 0 {
		if buf, err = take(in, buf, s.Length, limit); err != nil {
			return buf, err
		}
		for _, c := range buf[len(buf)-s.Length:] {
			n = n<<8 | int(c)
		}
	}
	inner := s.Inner
	if s.Counts {
		inner, n = n*s.Inner, 0
	}
	if buf, err = take(in, buf, n+s.Data, limit); err != nil {
		return buf, err
	}
	if inner > limit-len(buf) {
		return buf, refuse("%d values in what is left of %d bytes", inner, limit)
	}
	if inner > 0 && depth == codec.MaxDepth {
		return buf, refuse("more than %d levels", codec.MaxDepth)
	}
	for range inner {
		if buf, err = scanAt(in, buf, limit, depth+1); err != nil {
			return buf, err
		}
	}
	return buf, nil
}

// take appends n bytes.
func take(in *bufio.Reader, buf []byte, n, limit int) ([]byte, error) {
	if n > limit-len(buf) {
		return buf, refuse("more than %d bytes", limit)
	}
	for n > 0 {
		part := min(n, 32<<10)
		at := len(buf)
		buf = append(buf, make([]byte, part)...)
		if _, err := io.ReadFull(in, buf[at:]); err != nil {
			return buf[:at], errors.Join(io.ErrUnexpectedEOF, err)
		}
		n -= part
	}
	return buf, nil
}

// value is one msgpack value that was scanned, so it is complete.
type value []byte

// head returns the length that the value's first bytes give, the bytes that follow
// them, and the value's shape. The length counts values if the shape does, else bytes.
func (v value) head() (n int, rest []byte, s codec.Shape) {
	s, _ = codec.ShapeOf(v[0])
	rest = v[1:]
	for _, c := range rest[:s.Length] {
		n = n<<8 | int(c)
	}
	if s.Counts {
		return n * s.Inner, rest[s.Length:], s
	}
	if s.Inner > 0 || v[0] == 0x80 || v[0] == 0x90 {
		return s.Inner, rest, s
	}
	return n + s.Data, rest[s.Length:], s
}

func (v value) isMap() bool   { return v[0]&0xf0 == 0x80 || v[0] == 0xde || v[0] == 0xdf }
func (v value) isArray() bool { return v[0]&0xf0 == 0x90 || v[0] == 0xdc || v[0] == 0xdd }
func (v value) isNil() bool   { return v[0] == 0xc0 }

// next returns the first value, and the bytes that follow it.
func next(b []byte) (value, []byte) {
	v := value(b)
	n, rest, _ := v.head()
	if !v.isMap() && !v.isArray() {
		rest = rest[n:]
		return v[:len(b)-len(rest)], rest
	}
	for range n {
		_, rest = next(rest)
	}
	return v[:len(b)-len(rest)], rest
}

// bytes returns the data of a string or a byte string.
func (v value) bytes() ([]byte, bool) {
	switch b := v[0]; {
	case b >= 0xa0 && b <= 0xbf, b >= 0xc4 && b <= 0xc6, b >= 0xd9 && b <= 0xdb:
		_, rest, _ := v.head()
		return rest, true
	}
	return nil, false
}

// number returns an integer that is not negative.
func (v value) number() (uint64, bool) {
	switch b := v[0]; {
	case b <= 0x7f:
		return uint64(b), true
	case b >= 0xcc && b <= 0xcf, b >= 0xd0 && b <= 0xd3:
		var wide [8]byte
		copy(wide[8-len(v)+1:], v[1:])
		n := binary.BigEndian.Uint64(wide[:])
		signed := b >= 0xd0
		return n, !signed || n>>(8*(len(v)-1)-1) == 0
	}
	return 0, false
}

// elements calls fn with each element of an array.
func (v value) elements(most int, fn func(value) error) error {
	n, rest, _ := v.head()
	if !v.isArray() {
		return refuse("no array")
	}
	if n > most {
		return refuse("%d elements, at most %d", n, most)
	}
	for range n {
		var e value
		e, rest = next(rest)
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

const maxFields = 32

// fields calls fn with each field of a map. The keys must be different strings:
// decoders that use the first of two equal keys and decoders that use the last must see
// the same. An array is refused, because the codecs would read a struct from it too.
func (v value) fields(fn func(name string, field value) error) error {
	if !v.isMap() {
		return refuse("no map")
	}
	n, rest, _ := v.head()
	if n > 2*maxFields {
		return refuse("%d fields, at most %d", n/2, maxFields)
	}
	seen := make(map[string]bool, n/2)
	for range n / 2 {
		var key, field value
		key, rest = next(rest)
		field, rest = next(rest)
		name, ok := key.bytes()
		if !ok || seen[string(name)] {
			return refuse("a field without a name, or twice")
		}
		seen[string(name)] = true
		if err := fn(string(name), field); err != nil {
			return err
		}
	}
	return nil
}
