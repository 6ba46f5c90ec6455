package peer

import (
	"bytes"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

type encoding struct {
	buf bytes.Buffer
	enc *msgpack.Encoder
}

type decoding struct {
	in  bytes.Reader
	dec *msgpack.Decoder
}

var encodings = sync.Pool{New: func() any {
	e := &encoding{}
	e.enc = msgpack.NewEncoder(&e.buf)
	return e
}}

var decodings = sync.Pool{New: func() any {
	d := &decoding{}
	d.dec = msgpack.NewDecoder(&d.in)
	return d
}}

// appendMsgpack appends v's encoding to b.
func appendMsgpack(b []byte, v msgpack.CustomEncoder) ([]byte, error) {
	e := encodings.Get().(*encoding)
	defer encodings.Put(e)
	e.buf.Reset()
	e.enc.Reset(&e.buf)
	if err := v.EncodeMsgpack(e.enc); err != nil {
		return b, err
	}
	return append(b, e.buf.Bytes()...), nil
}

// decodeMsgpack decodes b into v.
func decodeMsgpack(b []byte, v msgpack.CustomDecoder) error {
	d := decodings.Get().(*decoding)
	defer decodings.Put(d)
	d.in.Reset(b)
	d.dec.Reset(&d.in)
	return v.DecodeMsgpack(d.dec)
}
