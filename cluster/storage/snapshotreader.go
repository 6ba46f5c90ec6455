package storage

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"
)

// errReadOnly is returned by snapshotReader.Create.
var errReadOnly = errors.New("the data directory is open for reading only")

// snapshotReader reads the files of a raft.FileSnapshotStore, which cannot be opened
// without writing: it creates its directory and a file in it.
type snapshotReader struct{ dir string }

// snapshotMeta is the contents of meta.json.
type snapshotMeta struct {
	raft.SnapshotMeta
	CRC []byte
}

// Create implements raft.SnapshotStore. It always fails.
func (snapshotReader) Create(raft.SnapshotVersion, uint64, uint64, raft.Configuration, uint64, raft.Transport) (raft.SnapshotSink, error) {
	return nil, errReadOnly
}

// List implements raft.SnapshotStore. Like raft.FileSnapshotStore it skips snapshots
// that are not complete or whose metadata cannot be read.
func (r snapshotReader) List() ([]*raft.SnapshotMeta, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []*raft.SnapshotMeta
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		if m, err := r.meta(e.Name()); err == nil && m.Version >= raft.SnapshotVersionMin && m.Version <= raft.SnapshotVersionMax {
			list = append(list, &m.SnapshotMeta)
		}
	}
	slices.SortFunc(list, func(a, b *raft.SnapshotMeta) int { // the newest first
		return cmp.Or(cmp.Compare(b.Term, a.Term), cmp.Compare(b.Index, a.Index), cmp.Compare(b.ID, a.ID))
	})
	return list[:min(len(list), snapshotsRetained)], nil
}

// Open implements raft.SnapshotStore.
func (r snapshotReader) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m, err := r.meta(id)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(filepath.Join(r.dir, id, "state.bin"))
	if err != nil {
		return nil, nil, err
	}
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	if _, err = io.Copy(sum, f); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil && !bytes.Equal(sum.Sum(nil), m.CRC) {
		err = fmt.Errorf("snapshot %s: wrong checksum", id)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return &m.SnapshotMeta, f, nil
}

func (r snapshotReader) meta(id string) (m snapshotMeta, err error) {
	b, err := os.ReadFile(filepath.Join(r.dir, id, "meta.json"))
	if err != nil {
		return m, err
	}
	err = json.Unmarshal(b, &m)
	return m, err
}
