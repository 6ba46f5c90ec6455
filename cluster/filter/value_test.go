package filter

import (
	"bytes"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/vmihailenco/msgpack/v5"
)

// TestWhole: an entry as it is stored is whole, and nothing that is shorter or longer.
func TestWhole(t *testing.T) {
	b, err := msgpack.Marshal(raft.Log{Index: 1 << 40, Term: 7, Data: make([]byte, 70_000), Extensions: []byte("x"), AppendedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := Whole(b); err != nil {
		t.Error(err)
	}
	for n := range b {
		if err := Whole(b[:n]); err == nil {
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
		if err := Whole(bad); err == nil {
			t.Errorf("%s: let through", name)
		}
	}
}
