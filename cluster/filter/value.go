// Package filter stands before decoders that trust what they read: those of
// Raft's transport and of memberlist. They allocate what a length claims, and
// some values make them panic. A message is let through when it is whole, of
// bounded size and depth, and holds nothing that its reader would choke on.
package filter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrRefused is wrapped by every error about bytes that are not let through.
var ErrRefused = errors.New("message refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

const maxDepth = 6 // of arrays and maps in one another

// shape is what the first byte of a msgpack value says: extra bytes of length,
// then bytes of data and a number of values within.
type shape struct {
	extra  int // bytes of the length
	fixed  int // bytes of data; with extra, to be added to the length
	inner  int // values within, for the fix forms; per counted one otherwise
	counts bool
}

// shapeOf follows the msgpack specification; 0xc1 is never used.
func shapeOf(b byte) (s shape, ok bool) {
	switch {
	case b <= 0x7f || b >= 0xe0 || b == 0xc0 || b == 0xc2 || b == 0xc3: // numbers, nil, booleans
		return shape{}, true
	case b <= 0x8f:
		return shape{inner: 2 * int(b&0x0f)}, true
	case b <= 0x9f:
		return shape{inner: int(b & 0x0f)}, true
	case b <= 0xbf:
		return shape{fixed: int(b & 0x1f)}, true
	}
	switch b {
	case 0xc4, 0xd9: // bytes and strings
		return shape{extra: 1}, true
	case 0xc5, 0xda:
		return shape{extra: 2}, true
	case 0xc6, 0xdb:
		return shape{extra: 4}, true
	case 0xc7: // extensions; their type is one byte more
		return shape{extra: 1, fixed: 1}, true
	case 0xc8:
		return shape{extra: 2, fixed: 1}, true
	case 0xc9:
		return shape{extra: 4, fixed: 1}, true
	case 0xca, 0xce, 0xd2:
		return shape{fixed: 4}, true
	case 0xcb, 0xcf, 0xd3:
		return shape{fixed: 8}, true
	case 0xcc, 0xd0:
		return shape{fixed: 1}, true
	case 0xcd, 0xd1:
		return shape{fixed: 2}, true
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return shape{fixed: 1 + 1<<(b-0xd4)}, true
	case 0xdc:
		return shape{extra: 2, inner: 1, counts: true}, true
	case 0xdd:
		return shape{extra: 4, inner: 1, counts: true}, true
	case 0xde:
		return shape{extra: 2, inner: 2, counts: true}, true
	case 0xdf:
		return shape{extra: 4, inner: 2, counts: true}, true
	}
	return shape{}, false
}

// scan appends one whole value to buf, which must not grow beyond limit. It
// allocates for what has come, never for what is claimed.
func scan(in *bufio.Reader, buf []byte, limit int) ([]byte, error) {
	return scanAt(in, buf, limit, 0)
}

func scanAt(in *bufio.Reader, buf []byte, limit, depth int) ([]byte, error) {
	b, err := in.ReadByte()
	if err != nil {
		return buf, err
	}
	s, ok := shapeOf(b)
	if !ok {
		return buf, refuse("byte %#x begins no value", b)
	}
	buf = append(buf, b)
	n := 0
	if s.extra > 0 {
		if buf, err = take(in, buf, s.extra, limit); err != nil {
			return buf, err
		}
		for _, c := range buf[len(buf)-s.extra:] {
			n = n<<8 | int(c)
		}
	}
	inner := s.inner
	if s.counts {
		inner, n = n*s.inner, 0
	}
	if buf, err = take(in, buf, n+s.fixed, limit); err != nil {
		return buf, err
	}
	if inner > limit-len(buf) {
		return buf, refuse("%d values in what is left of %d bytes", inner, limit)
	}
	if inner > 0 && depth == maxDepth {
		return buf, refuse("more than %d levels", maxDepth)
	}
	for range inner {
		if buf, err = scanAt(in, buf, limit, depth+1); err != nil {
			return buf, err
		}
	}
	return buf, nil
}

// Whole returns nil for bytes that are one value and nothing beside it, whatever
// it is.
func Whole(b []byte) error {
	rest, err := skip(b, 0)
	if err == nil && len(rest) > 0 {
		err = refuse("%d bytes after a value", len(rest))
	}
	return err
}

// skip returns what follows the first value.
func skip(b []byte, depth int) ([]byte, error) {
	if len(b) == 0 {
		return nil, refuse("a value is cut off")
	}
	s, ok := shapeOf(b[0])
	if !ok || len(b) <= s.extra {
		return nil, refuse("byte %#x begins no value", b[0])
	}
	n := 0
	for _, c := range b[1 : 1+s.extra] {
		n = n<<8 | int(c)
	}
	inner := s.inner
	if s.counts {
		inner, n = n*s.inner, 0
	}
	if n < 0 || inner < 0 { // where an int has 32 bits
		return nil, refuse("a length that no value has")
	}
	if b = b[1+s.extra:]; n+s.fixed > len(b) || inner > len(b) || inner > 0 && depth == maxDepth {
		return nil, refuse("%d bytes and %d values in what is left of %d bytes, %d levels down", n+s.fixed, inner, len(b), depth)
	}
	b = b[n+s.fixed:]
	for range inner {
		var err error
		if b, err = skip(b, depth+1); err != nil {
			return nil, err
		}
	}
	return b, nil
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

// value is one msgpack value that was scanned: it is whole.
type value []byte

// head returns the length that the value's first bytes give, what follows them,
// and whether that counts values.
func (v value) head() (n int, rest []byte, s shape) {
	s, _ = shapeOf(v[0])
	rest = v[1:]
	for _, c := range rest[:s.extra] {
		n = n<<8 | int(c)
	}
	if s.counts {
		return n * s.inner, rest[s.extra:], s
	}
	if s.inner > 0 || v[0] == 0x80 || v[0] == 0x90 {
		return s.inner, rest, s
	}
	return n + s.fixed, rest[s.extra:], s
}

func (v value) isMap() bool   { return v[0]&0xf0 == 0x80 || v[0] == 0xde || v[0] == 0xdf }
func (v value) isArray() bool { return v[0]&0xf0 == 0x90 || v[0] == 0xdc || v[0] == 0xdd }
func (v value) isNil() bool   { return v[0] == 0xc0 }

// next cuts the first value off, and returns what follows it.
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

// bytes returns the data of a string or of bytes.
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

// fields calls fn with each field of a map, whose keys must be different
// strings: a reader that takes the first and one that takes the last must see
// the same. An array in its place is refused, since codecs would read a struct
// from that too.
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
