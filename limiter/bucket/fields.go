package bucket

import (
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
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
