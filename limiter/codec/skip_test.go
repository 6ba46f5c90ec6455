package codec_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"quorate/limiter/codec"
)

// entry has the fields of a log entry as Raft's store keeps it.
type entry struct {
	Index, Term      uint64
	Type             uint8
	Data, Extensions []byte
	AppendedAt       time.Time
}

// TestWhole: a stored entry is whole, and nothing that is shorter or longer.
func TestWhole(t *testing.T) {
	b, err := msgpack.Marshal(entry{Index: 1 << 40, Term: 7, Data: make([]byte, 70_000), Extensions: []byte("x"), AppendedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := codec.Whole(b); err != nil {
		t.Error(err)
	}
	for n := range b {
		if err := codec.Whole(b[:n]); err == nil {
			t.Fatalf("%d of %d bytes are let through", n, len(b))
		}
	}
	for name, bad := range map[string][]byte{
		"a byte more":       append(bytes.Clone(b), 0),
		"4 GiB claimed":     {0xc6, 0xff, 0xff, 0xff, 0xff, 1},
		"4 Gi values":       {0xdd, 0xff, 0xff, 0xff, 0xff, 1},
		"levels in another": bytes.Repeat([]byte{0x91}, 1000),
		"no value":          {0xc1},
	} {
		if err := codec.Whole(bad); err == nil {
			t.Errorf("%s: let through", name)
		}
	}
}

func FuzzSkip(f *testing.F) {
	f.Add([]byte{0x92, 1, 0x81, 0xa1, 'a', 0xc0})
	f.Add(bytes.Repeat([]byte{0x91}, 1000))
	f.Add([]byte{0xdf, 0xff, 0xff, 0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		rest, err := codec.Skip(b)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(b, rest) || len(rest) >= len(b) {
			t.Fatalf("%d bytes are left of %d", len(rest), len(b))
		}
		// The library finds the same end.
		in := bytes.NewReader(b)
		if err := msgpack.NewDecoder(in).Skip(); err == nil && in.Len() != len(rest) {
			t.Fatalf("%d bytes are left, the library leaves %d", len(rest), in.Len())
		}
	})
}
