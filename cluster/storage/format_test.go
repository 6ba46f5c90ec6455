package storage

import (
	"bytes"
	"encoding/hex"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// TestTimeFormatOnDisk: entries contain a time, whose format must not depend on the
// version of a library.
func TestTimeFormatOnDisk(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(dir, "n1", Options{})
	if err != nil {
		t.Fatal(err)
	}
	entry := raft.Log{Index: 1, Term: 2, Data: []byte("d"), AppendedAt: time.Unix(1_700_000_000, 5).UTC()}
	if err := errors.Join(d.bolt.StoreLog(&entry), d.Close()); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(dir, "raft.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got []byte
	if err := db.View(func(tx *bbolt.Tx) error {
		got = bytes.Clone(tx.Bucket([]byte("logs")).Get([]byte{0, 0, 0, 0, 0, 0, 0, 1}))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	const want = "86aa417070656e6465644174a8000000146553f100a444617461a164aa457874656e73696f6e73c0a5496e64657801a45465726d02a45479706500"
	if hex.EncodeToString(got) != want {
		t.Errorf("the entry is %x,\nwant         %s", got, want)
	}
}
