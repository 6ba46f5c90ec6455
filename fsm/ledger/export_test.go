package ledger

import (
	"bytes"
	"testing"

	"quorate/limiter/codec"
)

// KeepKeys sets the maximum number of idempotency keys, for tests.
func (s *State) KeepKeys(n int) { s.keys.max = n }

// WriteRich writes a snapshot of version 3 with one account, which has that many
// micro-dollars of free credits.
func WriteRich(t *testing.T, id string, micros int64) []byte {
	t.Helper()
	var buf bytes.Buffer
	out, err := newFileWriter(&buf, snapshotMagic)
	if err != nil {
		t.Fatal(err)
	}
	b := newBlocks(out.block)
	f := &Frozen{Index: 1, version: nanoVersion - 1}
	b.record(secCluster, f.encodeCluster)
	b.record(secAccounts, func(w *codec.Writer) {
		w.Array(9)
		w.String(id)
		w.Uint(0)
		w.Bool(false)
		for _, n := range []int64{0, micros, 0, 0, -1} {
			w.Int(n)
		}
		encodeOverrides(w, nil)
	})
	if err := b.flush(); err != nil {
		t.Fatal(err)
	}
	if err := out.end(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
