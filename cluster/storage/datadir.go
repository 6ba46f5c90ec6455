// Package storage keeps a node's state on disk: Raft's log, its term and vote, its
// snapshots, the node's id and that of its cluster. It detects damage before
// anything is built on it, and stops a node whose disk fails or hangs.
//
// It knows nothing of the cluster's other parts. OpenRaft composes the stores that
// Raft runs on.
package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// The errors of opening a data directory.
var (
	// ErrDataDir is wrapped by every error of Open, OpenReadOnly and OpenRaft.
	ErrDataDir = errors.New("data directory cannot be used")
	// ErrInUse means that another process has the directory open.
	ErrInUse = errors.New("another process is using it")
	// ErrEmpty means that the directory holds no node's data.
	ErrEmpty = errors.New("there is no node's data in it")
)

// Names in a data directory. The snapshots directory is that of
// raft.FileSnapshotStore.
const (
	logFile      = "raft.db"
	nodeIDFile   = "node-id"
	bootFile     = "boot"
	snapshotsDir = "snapshots"
)

// lockTimeout is how long opening waits for a process that is about to exit.
const lockTimeout = time.Second

// Options are the options of Open. The zero Options are right for a node.
type Options struct {
	Logger hclog.Logger // of the snapshot store; nil: none
	NoSync bool         // for tests only: acknowledge entries before they are on the disk
}

// Dir is an open data directory. While it is open no other process can open it for
// writing.
type Dir struct {
	path      string
	nodeID    string
	boot      uint64
	bolt      *raftboltdb.BoltStore
	snapshots raft.SnapshotStore
}

// Open opens the data directory of a node, creates it if necessary, and counts a
// boot. Its errors wrap ErrDataDir; ErrLogDamaged if the log is damaged, or ErrInUse
// if another process holds the directory.
func Open(path, nodeID string, o Options) (*Dir, error) {
	d, err := open(path, nodeID, o)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDataDir, path, err)
	}
	return d, nil
}

func open(path, nodeID string, o Options) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	if err := verifyLog(filepath.Join(path, logFile)); err != nil {
		return nil, err
	}
	// Bbolt's file lock excludes other processes. The other files may be written only
	// while it is held.
	bolt, err := openBolt(path, o.NoSync, false)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, nodeID: nodeID, bolt: bolt}
	if err = d.checkNodeID(); err == nil {
		err = d.countBoot()
	}
	if err == nil {
		d.snapshots, err = openSnapshots(path, o.Logger)
	}
	if err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return d, nil
}

// OpenReadOnly opens the data directory of a node that does not run, and never writes
// to it. Boot returns 0. Its errors wrap ErrDataDir, and ErrEmpty if there is no
// node's data, or as those of Open.
func OpenReadOnly(path string) (*Dir, error) {
	d, err := openReadOnly(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDataDir, path, err)
	}
	return d, nil
}

func openReadOnly(path string) (*Dir, error) {
	id, err := readNodeID(path)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(path, logFile)
	if info, err := os.Stat(file); errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil, ErrEmpty
	}
	if err := verifyLog(file); err != nil {
		return nil, err
	}
	if err := requireBuckets(file); err != nil {
		return nil, err
	}
	bolt, err := openBolt(path, false, true)
	if err != nil {
		return nil, err
	}
	return &Dir{path: path, nodeID: id, bolt: bolt, snapshots: snapshotReader{filepath.Join(path, snapshotsDir)}}, nil
}

func openBolt(path string, noSync, readOnly bool) (*raftboltdb.BoltStore, error) {
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: filepath.Join(path, logFile),
		BoltOptions: &bbolt.Options{
			Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, ReadOnly: readOnly,
		},
		MsgpackUseNewTimeFormat: true,
		NoSync:                  noSync,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, ErrInUse
	}
	return bolt, err
}

// requireBuckets returns ErrEmpty for a file whose process ended before it had
// created the buckets: raft-boltdb creates them only when it may write.
func requireBuckets(file string) error {
	db, err := bbolt.Open(file, 0, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return openError(err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		if tx.Bucket([]byte(bucketLogs)) == nil || tx.Bucket([]byte(bucketConf)) == nil {
			return ErrEmpty
		}
		return nil
	})
	return errors.Join(err, db.Close())
}

// NodeID returns the id of the node that the directory belongs to.
func (d *Dir) NodeID() string { return d.nodeID }

// Boot returns the number of this boot, which is higher than that of any before.
func (d *Dir) Boot() uint64 { return d.boot }

// Log returns the log with its checksums. Its methods need no watchdog: it is for
// reading before Raft starts.
func (d *Dir) Log() *Log { return &Log{d.bolt} }

// Snapshots returns the snapshot store.
func (d *Dir) Snapshots() raft.SnapshotStore { return d.snapshots }

// Close closes the log and releases the directory.
func (d *Dir) Close() error { return d.bolt.Close() }

// ReadNodeID returns the id of the node that a data directory belongs to. Its errors
// wrap ErrDataDir, and ErrEmpty if there is none.
func ReadNodeID(path string) (string, error) {
	id, err := readNodeID(path)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrDataDir, path, err)
	}
	return id, nil
}

func readNodeID(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join(path, nodeIDFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", ErrEmpty
	}
	return strings.TrimSpace(string(b)), err
}

// checkNodeID checks that the directory belongs to the node, or makes it so.
func (d *Dir) checkNodeID() error {
	id, err := readNodeID(d.path)
	switch {
	case errors.Is(err, ErrEmpty):
		return writeFile(filepath.Join(d.path, nodeIDFile), d.nodeID)
	case err != nil:
		return err
	case id != d.nodeID:
		return fmt.Errorf("it belongs to node %q, not to %q", id, d.nodeID)
	}
	return nil
}

// countBoot increments the boot counter.
func (d *Dir) countBoot() error {
	path := filepath.Join(d.path, bootFile)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil {
		if d.boot, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 63); err != nil {
			return fmt.Errorf("read boot counter: %w", err)
		}
	}
	d.boot++
	return writeFile(path, strconv.FormatUint(d.boot, 10))
}

// writeFile replaces a small file so that a crash leaves the old or the new contents.
func writeFile(path, content string) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
