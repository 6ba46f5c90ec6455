package storage

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// TestADamagedEntryIsNotRead changes each part of a stored entry: reading returns what
// was stored, or an error.
func TestADamagedEntryIsNotRead(t *testing.T) {
	bolt, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(t.TempDir(), "raft.db"), MsgpackUseNewTimeFormat: true})
	if err != nil {
		t.Fatal(err)
	}
	defer bolt.Close()
	s := Log{bolt}
	entry := raft.Log{Index: 7, Term: 3, Type: raft.LogCommand, Data: []byte("a dollar")}
	if err := s.StoreLogs([]*raft.Log{&entry}); err != nil {
		t.Fatal(err)
	}
	if entry.Extensions != nil {
		t.Error("Raft's own entry was changed")
	}
	var got raft.Log
	if err := s.GetLog(7, &got); err != nil || !bytes.Equal(got.Data, entry.Data) || got.Extensions != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := s.GetLog(8, &got); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry that is not there: %v", err)
	}
	for name, damage := range map[string]func(*raft.Log){
		"data":     func(l *raft.Log) { l.Data[0] ^= 1 },
		"term":     func(l *raft.Log) { l.Term++ },
		"type":     func(l *raft.Log) { l.Type = raft.LogNoop },
		"checksum": func(l *raft.Log) { l.Extensions[4] ^= 1 },
	} {
		var stored raft.Log
		if err := bolt.GetLog(7, &stored); err != nil {
			t.Fatal(err)
		}
		damage(&stored)
		if err := bolt.StoreLog(&stored); err != nil {
			t.Fatal(err)
		}
		if err := s.GetLog(7, &got); !errors.Is(err, ErrLogDamaged) {
			t.Errorf("%s damaged: %v", name, err)
		}
		if err := s.Verify(0, 0); !errors.Is(err, ErrLogDamaged) {
			t.Errorf("%s damaged, seen at a start: %v", name, err)
		}
		if err := s.StoreLog(&entry); err != nil {
			t.Fatal(err)
		}
	}
	if err := bolt.StoreLog(&entry); err != nil { // as versions without checksums did
		t.Fatal(err)
	}
	if err := s.GetLog(7, &got); err != nil {
		t.Errorf("an entry without a checksum: %v", err)
	}
}

// TestGapsAndOldTermsAreDamage removes what the structure of the file does not show.
func TestGapsAndOldTermsAreDamage(t *testing.T) {
	for name, damage := range map[string]func(*Dir) error{
		"an entry is missing":        func(d *Dir) error { return d.bolt.DeleteRange(5, 5) },
		"the first ones are missing": func(d *Dir) error { return d.bolt.DeleteRange(1, 3) },
		"the term is an earlier one": func(d *Dir) error { return d.bolt.SetUint64(keyCurrentTerm, 2) },
		"the vote is of a later one": func(d *Dir) error { return d.bolt.Set(keyVote, []byte("\x00\x00\x00\x00\x00\x00\x00\x04n1")) },
		"a key has another name":     func(d *Dir) error { return d.bolt.Set([]byte("CurrenuTerm"), make([]byte, 8)) },
		"a term is cut off":          func(d *Dir) error { return d.bolt.Set(keyCurrentTerm, make([]byte, 4)) },
	} {
		dir := t.TempDir()
		writeLog(t, dir, 40)
		d, err := Open(dir, "n1", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(damage(d), d.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := readLog(t, dir); !errors.Is(err, ErrLogDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
