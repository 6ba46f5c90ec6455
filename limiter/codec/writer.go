package codec

import (
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// Writer writes one message. It must not be copied, and its methods must not
// overlap.
type Writer struct {
	out sink
	enc *msgpack.Encoder // into out
	err error
}

// sink appends what the library writes.
type sink struct{ b []byte }

func (s *sink) Write(p []byte) (int, error) { s.b = append(s.b, p...); return len(p), nil }
func (s *sink) WriteByte(c byte) error      { s.b = append(s.b, c); return nil }

// NewWriter returns a writer of an empty message.
func NewWriter() *Writer {
	w := &Writer{}
	w.enc = msgpack.NewEncoder(&w.out)
	return w
}

// Encoder is a value that can be written.
type Encoder interface{ Encode(w *Writer) }

var writers = sync.Pool{New: func() any { return NewWriter() }}

// Append appends the encoding of v to b. After an error b is returned as it was.
func Append(b []byte, v Encoder) ([]byte, error) {
	w := writers.Get().(*Writer)
	w.out.b, w.err = b, nil
	v.Encode(w)
	out, err := w.Finish()
	w.out.b = nil
	writers.Put(w)
	if err != nil {
		return b, err
	}
	return out, nil
}

// Finish returns the message and the first error. The message is the writer's own
// memory.
func (w *Writer) Finish() ([]byte, error) { return w.out.b, w.err }

// Err returns the first error.
func (w *Writer) Err() error { return w.err }

// Fail makes err the writer's error unless it has one.
func (w *Writer) Fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// Len returns how many bytes are written.
func (w *Writer) Len() int { return len(w.out.b) }

// Truncate drops all but the first n bytes.
func (w *Writer) Truncate(n int) { w.out.b = w.out.b[:n] }

// Array writes the head of an array; n values are to follow.
func (w *Writer) Array(n int) { w.Fail(w.enc.EncodeArrayLen(n)) }

// Uint writes a number.
func (w *Writer) Uint(n uint64) { w.Fail(w.enc.EncodeUint(n)) }

// Int writes a number.
func (w *Writer) Int(n int64) { w.Fail(w.enc.EncodeInt(n)) }

// Bool writes true or false.
func (w *Writer) Bool(v bool) { w.Fail(w.enc.EncodeBool(v)) }

// String writes a string.
func (w *Writer) String(s string) { w.Fail(w.enc.EncodeString(s)) }

// Bytes writes bytes; a nil slice is another value than an empty one.
func (w *Writer) Bytes(b []byte) { w.Fail(w.enc.EncodeBytes(b)) }

// Raw writes values that are encoded already.
func (w *Writer) Raw(b []byte) { w.out.b = append(w.out.b, b...) }

// Byte writes one byte, such as the kind of a message in front of its values.
func (w *Writer) Byte(b byte) { w.out.b = append(w.out.b, b) }
