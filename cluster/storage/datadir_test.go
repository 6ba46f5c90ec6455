package storage

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func TestDirCountsBootsAndExcludesOthers(t *testing.T) {
	dir := t.TempDir()
	for boot := uint64(1); boot <= 2; boot++ {
		d, err := Open(dir, "n1", Options{})
		if err != nil || d.Boot() != boot {
			t.Fatalf("boot %d: %v %+v", boot, err, d)
		}
		if _, err := Open(dir, "n1", Options{}); !errors.Is(err, ErrDataDir) || !errors.Is(err, ErrInUse) {
			t.Fatalf("a second process opened it: %v", err)
		}
		if _, err := OpenReadOnly(dir); !errors.Is(err, ErrDataDir) || !errors.Is(err, ErrInUse) {
			t.Fatalf("a second process opened it for reading: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir, "n2", Options{}); !errors.Is(err, ErrDataDir) {
		t.Fatalf("another node opened it: %v", err)
	}
}

// TestReadOnlyWritesNothing opens a directory with a log and snapshots for reading:
// what is read is what was written, and each file and the list of files is unchanged.
func TestReadOnlyWritesNothing(t *testing.T) {
	dir := t.TempDir()
	want := writeLog(t, dir, 40)
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, 2, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	_, trans := raft.NewInmemTransport("n1")
	for _, index := range []uint64{3, 5, 7} { // of which two are retained
		sink, err := snapshots.Create(raft.SnapshotVersionMax, index, 3, raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "a"}}}, 1, trans)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sink.Write([]byte{byte(index)}); err != nil {
			t.Fatal(err)
		}
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "snapshots", "3-9-1.tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	listed, err := snapshots.List()
	if err != nil {
		t.Fatal(err)
	}

	before, modified := contents(t, dir), modTimes(t, dir)
	d, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d.NodeID() != "n1" || d.Boot() != 0 {
		t.Errorf("node %q, boot %d", d.NodeID(), d.Boot())
	}
	got, err := d.Snapshots().List()
	if err != nil || !reflect.DeepEqual(got, listed) {
		t.Errorf("snapshots %+v, %v, want %+v", got, err, listed)
	}
	meta, file, err := d.Snapshots().Open(got[0].ID)
	if err != nil || meta.Index != 7 {
		t.Fatalf("snapshot %+v, %v", meta, err)
	}
	b := make([]byte, 2)
	if n, _ := file.Read(b); n != 1 || b[0] != 7 {
		t.Errorf("the snapshot holds %v", b[:n])
	}
	if _, err := d.Snapshots().Create(1, 9, 3, raft.Configuration{}, 1, trans); err == nil {
		t.Error("a snapshot was created")
	}
	if last, err := d.Log().LastIndex(); err != nil || last != uint64(len(want)) {
		t.Errorf("last entry %d, %v, want %d", last, err, len(want))
	}
	if err := d.Log().Verify(0, 0); err != nil {
		t.Error(err)
	}
	if err := d.Log().StoreLog(&raft.Log{Index: 1 << 20}); err == nil {
		t.Error("an entry was stored")
	}
	if err := errors.Join(file.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(contents(t, dir), before) || !reflect.DeepEqual(modTimes(t, dir), modified) {
		t.Error("the directory was changed")
	}

	state := filepath.Join(dir, "snapshots", got[0].ID, "state.bin")
	if err := os.WriteFile(state, []byte{8}, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Snapshots().Open(got[0].ID); err == nil {
		t.Error("a damaged snapshot was opened")
	}
}

// TestReadOnlyWithoutData: a directory without a node's data is reported as such, and
// nothing is created in it.
func TestReadOnlyWithoutData(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"", nodeIDFile, logFile} {
		if file != "" {
			if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := contents(t, dir)
		if _, err := OpenReadOnly(dir); !errors.Is(err, ErrDataDir) || !errors.Is(err, ErrEmpty) {
			t.Errorf("with %q: %v", file, err)
		}
		if !reflect.DeepEqual(contents(t, dir), before) {
			t.Errorf("with %q the directory was changed", file)
		}
	}
}

// TestIdentity: a directory with state and no cluster id is a legacy one as soon as its
// identity is read, until the id is set.
func TestIdentity(t *testing.T) {
	fresh, used := t.TempDir(), t.TempDir()
	writeLog(t, used, 1)
	for dir, legacy := range map[string]bool{fresh: false, used: true} {
		d, err := Open(dir, "n1", Options{})
		if err != nil {
			t.Fatal(err)
		}
		i, err := d.Identity()
		if err != nil {
			t.Fatal(err)
		}
		if id, got := i.Get(); id != "" || got != legacy {
			t.Errorf("cluster %q, legacy %v, want %v", id, got, legacy)
		}
		if err := i.SetClusterID("c1"); err != nil {
			t.Fatal(err)
		}
		again, err := d.Identity()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []*Identity{i, again} {
			if id, got := i.Get(); id != "c1" || got {
				t.Errorf("cluster %q, legacy %v", id, got)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
