package codec

import "fmt"

// MaxDepth bounds how deep arrays and maps lie in one another, where their kind is
// not known beforehand.
const MaxDepth = 6

// Shape is what the first byte of a value says of what follows it.
type Shape struct {
	Length int  // bytes of a length
	Data   int  // bytes of data; with Length, in addition to the length
	Inner  int  // values within; with Counts, for each of the length
	Counts bool // the length counts values, not bytes
}

// ShapeOf returns the shape of a value that begins with b, by the MessagePack
// specification; ok is false for 0xc1, which begins none.
func ShapeOf(b byte) (s Shape, ok bool) {
	switch {
	case b <= 0x7f || b >= 0xe0 || b == 0xc0 || b == 0xc2 || b == 0xc3: // numbers, nil, booleans
		return Shape{}, true
	case b <= 0x8f:
		return Shape{Inner: 2 * int(b&0x0f)}, true
	case b <= 0x9f:
		return Shape{Inner: int(b & 0x0f)}, true
	case b <= 0xbf:
		return Shape{Data: int(b & 0x1f)}, true
	}
	switch b {
	case 0xc4, 0xd9: // bytes and strings
		return Shape{Length: 1}, true
	case 0xc5, 0xda:
		return Shape{Length: 2}, true
	case 0xc6, 0xdb:
		return Shape{Length: 4}, true
	case 0xc7: // extensions; their type is one byte more
		return Shape{Length: 1, Data: 1}, true
	case 0xc8:
		return Shape{Length: 2, Data: 1}, true
	case 0xc9:
		return Shape{Length: 4, Data: 1}, true
	case 0xca, 0xce, 0xd2:
		return Shape{Data: 4}, true
	case 0xcb, 0xcf, 0xd3:
		return Shape{Data: 8}, true
	case 0xcc, 0xd0:
		return Shape{Data: 1}, true
	case 0xcd, 0xd1:
		return Shape{Data: 2}, true
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return Shape{Data: 1 + 1<<(b-0xd4)}, true
	case 0xdc:
		return Shape{Length: 2, Inner: 1, Counts: true}, true
	case 0xdd:
		return Shape{Length: 4, Inner: 1, Counts: true}, true
	case 0xde:
		return Shape{Length: 2, Inner: 2, Counts: true}, true
	case 0xdf:
		return Shape{Length: 4, Inner: 2, Counts: true}, true
	}
	return Shape{}, false
}

// Whole returns nil if b is one value, of any kind, and nothing beside it.
func Whole(b []byte) error {
	rest, err := Skip(b)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after a value: %w", len(rest), ErrBounds)
	}
	return err
}

// Skip returns what follows the first value of b. It takes no memory and refuses
// values that lie more than MaxDepth deep.
func Skip(b []byte) ([]byte, error) { return skip(b, 0) }

func skip(b []byte, depth int) ([]byte, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("a value is cut off: %w", ErrBounds)
	}
	s, ok := ShapeOf(b[0])
	if !ok || len(b) <= s.Length {
		return nil, fmt.Errorf("byte %#x begins no value: %w", b[0], ErrBounds)
	}
	n := 0
	for _, c := range b[1 : 1+s.Length] {
		n = n<<8 | int(c)
	}
	inner := s.Inner
	if s.Counts {
		inner, n = n*s.Inner, 0
	}
	if n < 0 || inner < 0 { // where an int has 32 bits
		return nil, fmt.Errorf("a length that no value has: %w", ErrBounds)
	}
	if b = b[1+s.Length:]; n+s.Data > len(b) || inner > len(b) || inner > 0 && depth == MaxDepth {
		return nil, fmt.Errorf("%d bytes and %d values in what is left of %d bytes, %d levels down: %w", n+s.Data, inner, len(b), depth, ErrBounds)
	}
	b = b[n+s.Data:]
	for range inner {
		var err error
		if b, err = skip(b, depth+1); err != nil {
			return nil, err
		}
	}
	return b, nil
}
