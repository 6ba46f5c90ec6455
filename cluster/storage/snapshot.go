package storage

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// alignedLog is a log that agrees with the latest snapshot. When Raft installs a
// leader's snapshot it leaves entries that contradict the snapshot in the log: it then
// refuses the leader's next request, the leader sends a snapshot again, and so on
// without end (hashicorp/raft#697); and if this node became leader, it could send
// those entries to others. alignedLog deletes them, and returns the snapshot's last
// entry at its index. Its methods may be called concurrently.
type alignedLog struct {
	raft.LogStore
	fault *Fault // nil before Raft has started

	mu    sync.Mutex
	index uint64 // of the snapshot that the log contradicted; 0: none; guarded by mu
	term  uint64 // guarded by mu
}

// GetLog implements raft.LogStore.
func (a *alignedLog) GetLog(index uint64, l *raft.Log) error {
	a.mu.Lock()
	at, term := a.index, a.term
	a.mu.Unlock()
	if at != 0 && index == at {
		*l = raft.Log{Index: at, Term: term, Type: raft.LogNoop}
		return nil
	}
	return a.LogStore.GetLog(index, l)
}

// align makes the log agree with a snapshot whose last entry has the given index and
// term: if the log has no such entry, it deletes the entries up to the index.
func (a *alignedLog) align(index, term uint64) error {
	var l raft.Log
	err := a.GetLog(index, &l)
	if err == nil && l.Term == term || index < 2 {
		return nil
	}
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	first, err := a.FirstIndex()
	if err != nil {
		return err
	}
	last, err := a.LastIndex()
	if err != nil {
		return err
	}
	if first != 0 && first <= index {
		if err := a.DeleteRange(first, min(index, last)); err != nil {
			return fmt.Errorf("delete entries that a snapshot contradicts: %w", err)
		}
	}
	a.mu.Lock()
	a.index, a.term = index, term
	a.mu.Unlock()
	if last == index && a.fault != nil {
		// Raft caches the term of its own last entry, and no store can change that.
		a.fault.Raise(fmt.Errorf("%w, at index %d", ErrDiverged, index))
	}
	return nil
}

// aligningSnapshots aligns a log with each snapshot that is completed. The node's own
// snapshots change nothing; a leader's may.
type aligningSnapshots struct {
	raft.SnapshotStore
	log *alignedLog
}

// Create implements raft.SnapshotStore.
func (s aligningSnapshots) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(v, index, term, c, at, trans)
	if err != nil {
		return nil, err
	}
	return aligningSink{sink, s.log, index, term}, nil
}

type aligningSink struct {
	raft.SnapshotSink
	log         *alignedLog
	index, term uint64
}

// Close implements raft.SnapshotSink.
func (s aligningSink) Close() error {
	if err := s.SnapshotSink.Close(); err != nil {
		return err
	}
	return s.log.align(s.index, s.term)
}
