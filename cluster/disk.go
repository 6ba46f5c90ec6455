package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// disk is a node's data directory: raft.db, snapshots, and who it belongs to.
type disk struct {
	log  *raftboltdb.BoltStore
	boot uint64 // of this life; higher than any before
}

// lockWait is how long a start waits for a process that is about to end.
const lockWait = time.Second

var errInUse = errors.New("another process is using it")

// openDisk opens the directory, creating it if need be, and begins a new life.
// Its errors wrap ErrDataDir, and ErrLogDamaged where that is why.
func openDisk(dir, nodeID string) (*disk, error) {
	d, err := tryOpenDisk(dir, nodeID)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDataDir, dir, err)
	}
	return d, nil
}

func tryOpenDisk(dir, nodeID string) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "raft.db")
	if err := verifyLog(path); err != nil {
		return nil, err
	}
	// bbolt's file lock is what keeps a second process out; only behind it may
	// the other files be touched.
	log, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout: lockWait, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
		},
		MsgpackUseNewTimeFormat: true,
		NoSync:                  !fsync,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, errInUse
	}
	if err != nil {
		return nil, err
	}
	d := &disk{log: log}
	if err := d.claim(dir, nodeID); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return d, nil
}

// claim checks that the directory is this node's and counts the start.
func (d *disk) claim(dir, nodeID string) error {
	id := filepath.Join(dir, "node-id")
	switch was, err := os.ReadFile(id); {
	case errors.Is(err, os.ErrNotExist):
		if err := writeFile(id, nodeID); err != nil {
			return err
		}
	case err != nil:
		return err
	case strings.TrimSpace(string(was)) != nodeID:
		return fmt.Errorf("it belongs to node %q, not to %q", strings.TrimSpace(string(was)), nodeID)
	}
	boot := filepath.Join(dir, "boot")
	was, err := os.ReadFile(boot)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil {
		if d.boot, err = strconv.ParseUint(strings.TrimSpace(string(was)), 10, 63); err != nil {
			return fmt.Errorf("read boot counter: %w", err)
		}
	}
	d.boot++
	return writeFile(boot, strconv.FormatUint(d.boot, 10))
}

// writeFile replaces a small file so that a crash leaves the old or the new.
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
