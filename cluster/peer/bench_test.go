package peer

import (
	"bufio"
	"bytes"
	"testing"

	"quorate/limiter/bucket"
	"quorate/limiter/codec"
)

// BenchmarkFrame has both halves of a check between two nodes: what the one that
// asks and the one that decides encode and decode.
func BenchmarkFrame(b *testing.B) {
	q, d := goldenCheck, goldenDecision
	encodeCheck := func(buf []byte) ([]byte, error) {
		buf, err := codec.Append(appendRoute(appendHeader(buf, kindCheck, 7), bucket.Route{Epoch: 7}), &q)
		setLength(buf, 0)
		return buf, err
	}
	encodeDecision := func(buf []byte) ([]byte, error) {
		buf, err := codec.Append(appendHeader(buf, kindDone, 7), &d)
		setLength(buf, 0)
		return buf, err
	}
	check, err := encodeCheck(nil)
	if err != nil {
		b.Fatal(err)
	}
	decision, err := encodeDecision(nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		encode func([]byte) ([]byte, error)
	}{{"check/encode", encodeCheck}, {"decision/encode", encodeDecision}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				var err error
				if buf, err = c.encode(buf[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, c := range []struct {
		name   string
		frame  []byte
		decode func([]byte) error
	}{
		{"check/decode", check, func(payload []byte) error { _, err := decodeCheck(payload, &q); return err }},
		{"decision/decode", decision, func(payload []byte) error { return codec.Unmarshal(payload, &d) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			in := bytes.NewReader(nil)
			buffered := bufio.NewReader(in)
			var buf []byte
			for b.Loop() {
				in.Reset(c.frame)
				buffered.Reset(in)
				_, _, payload, err := readFrame(buffered, buf)
				if err == nil {
					buf = payload[:0]
					err = c.decode(payload)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
