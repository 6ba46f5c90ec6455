package storage

import (
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	snapshotsRetained = 2
	cachedEntries     = 1024
)

// RaftStores are the stores that Raft runs on.
type RaftStores struct {
	Log       raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
	Watchdog  *Watchdog // of all three; Run is to be called
	Existing  bool      // there is Raft state
	LastIndex uint64    // of the log and the snapshots
}

// OpenRaft verifies the log, aligns it with the latest snapshot, and returns the
// stores to run Raft with. They raise ErrDiskFailed, ErrDiskStalled and ErrDiverged on
// f; stall is how long an operation may take. Its errors wrap ErrDataDir.
func (d *Dir) OpenRaft(f *Fault, stall time.Duration) (*RaftStores, error) {
	s, err := d.openRaft(f, stall)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	return s, nil
}

func (d *Dir) openRaft(f *Fault, stall time.Duration) (*RaftStores, error) {
	existing, err := raft.HasExistingState(d.bolt, d.bolt, d.snapshots)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	last, err := d.bolt.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	list, err := d.snapshots.List()
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var latest raft.SnapshotMeta
	if len(list) > 0 {
		latest = *list[0]
	}
	if err := d.Log().Verify(latest.Index, latest.Term); err != nil {
		return nil, err
	}
	out, err := newRaftStores(d.Log(), d.snapshots, &latest, f, stall)
	if err != nil {
		return nil, err
	}
	out.Existing, out.LastIndex = existing, max(last, latest.Index)
	return out, nil
}

// newRaftStores composes the stores. From the outside in, the log hides what the
// latest snapshot contradicts, caches the last entries, and is watched.
func newRaftStores(s Store, snapshots raft.SnapshotStore, latest *raft.SnapshotMeta, f *Fault, stall time.Duration) (*RaftStores, error) {
	w := NewWatchdog(s, f, stall)
	cache, err := raft.NewLogCache(cachedEntries, w)
	if err != nil {
		return nil, err
	}
	log := &alignedLog{LogStore: cache}
	// The process may have ended before it had aligned the log. Raft has not started
	// yet and caches nothing, so no fault is raised.
	if latest.Index > 0 {
		if err := log.align(latest.Index, latest.Term); err != nil {
			return nil, err
		}
	}
	log.fault = f
	return &RaftStores{Log: log, Stable: NewVoteStore(w), Snapshots: aligningSnapshots{snapshots, log}, Watchdog: w}, nil
}

// openSnapshots opens the snapshot store for reading and writing.
func openSnapshots(path string, logger hclog.Logger) (raft.SnapshotStore, error) {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	s, err := raft.NewFileSnapshotStoreWithLogger(path, snapshotsRetained, logger)
	if err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	return s, nil
}
