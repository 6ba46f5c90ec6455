package storage

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"quorate/testing/golden"
)

// TestTheDiskStays: the checksums of log entries, the records of a vote and of the
// cluster, and the small files of a data directory are those of earlier versions.
func TestTheDiskStays(t *testing.T) {
	f := golden.Open(t, "testdata/disk.txt")
	for name, l := range map[string]*raft.Log{
		"checksum/command": {Index: 7, Term: 3, Type: raft.LogCommand, Data: []byte("a dollar")},
		"checksum/noop":    {Index: 1 << 40, Term: 300, Type: raft.LogNoop},
		"checksum/config":  {Index: 1, Term: 1, Type: raft.LogConfiguration, Data: []byte{0, 1, 2}, Extensions: []byte("not covered")},
	} {
		f.Compare(name, checksum(l))
	}

	store := raft.NewInmemStore()
	votes := NewVoteStore(store)
	if err := votes.SetUint64([]byte("LastVoteTerm"), 300); err != nil {
		t.Fatal(err)
	}
	if err := votes.Set([]byte("LastVoteCand"), []byte("10.0.0.1:7800")); err != nil {
		t.Fatal(err)
	}
	record, err := store.Get([]byte("quorate-vote"))
	if err != nil {
		t.Fatal(err)
	}
	f.Compare("vote", record)
	votes = NewVoteStore(store)
	term, err := votes.GetUint64([]byte("LastVoteTerm"))
	candidate, err2 := votes.Get([]byte("LastVoteCand"))
	if err != nil || err2 != nil || term != 300 || string(candidate) != "10.0.0.1:7800" {
		t.Errorf("the vote is read as term %d for %q, %v, %v", term, candidate, err, err2)
	}

	s, err := ReadIdentity(store, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetClusterID("0123456789abcdef0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	if record, err = store.Get([]byte("quorate-cluster")); err != nil {
		t.Fatal(err)
	}
	f.Compare("cluster", record)
	if s, err = ReadIdentity(store, false); err != nil || s.ClusterID() != "0123456789abcdef0123456789abcdef" {
		t.Errorf("the cluster is read as %q, %v", s.ClusterID(), err)
	}

	dir := t.TempDir()
	for _, boot := range []string{"1\n", "2\n"} {
		d, err := Open(dir, "n1", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"node-id": "n1\n", "boot": boot} {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, []byte(want)) {
				t.Errorf("the file %s holds %q, %v; want %q", name, got, err, want)
			}
		}
	}
}
