package cluster

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// trimmed is a log that knows which snapshot it begins after. When Raft takes
// over a leader's snapshot it leaves entries that contradict it in the log: the
// next request of the leader is then refused, a snapshot sent again, and so on
// for ever (hashicorp/raft#697); and should this node lead one day, it could
// hand them on. They go, and the snapshot's own entry stands in for the one at
// its index. Calls may overlap.
type trimmed struct {
	raft.LogStore
	fault *fault // nil before Raft has started

	mu    sync.Mutex
	index uint64 // of the snapshot that the log contradicted; 0: none; guarded by mu
	term  uint64 // guarded by mu
}

// GetLog is raft.LogStore.
func (t *trimmed) GetLog(index uint64, l *raft.Log) error {
	t.mu.Lock()
	at, term := t.index, t.term
	t.mu.Unlock()
	if at != 0 && index == at {
		*l = raft.Log{Index: at, Term: term, Type: raft.LogNoop}
		return nil
	}
	return t.LogStore.GetLog(index, l)
}

// follow drops the entries that contradict a snapshot which ends with an entry
// of that term at that index, and all before it.
func (t *trimmed) follow(index, term uint64) error {
	var l raft.Log
	err := t.GetLog(index, &l)
	if err == nil && l.Term == term || index < 2 {
		return nil
	}
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	first, err := t.FirstIndex()
	if err != nil {
		return err
	}
	last, err := t.LastIndex()
	if err != nil {
		return err
	}
	if first != 0 && first <= index {
		if err := t.DeleteRange(first, min(index, last)); err != nil {
			return fmt.Errorf("drop entries that a snapshot contradicts: %w", err)
		}
	}
	t.mu.Lock()
	t.index, t.term = index, term
	t.mu.Unlock()
	if last == index && t.fault != nil {
		// Raft remembers the term of its own last entry, and no store can tell it
		// otherwise.
		t.fault.raise(fmt.Errorf("%w, at index %d", ErrDiverged, index))
	}
	return nil
}

// followed is a snapshot store that has the log follow each snapshot which is
// complete: a node's own changes nothing, a leader's may.
type followed struct {
	raft.SnapshotStore
	log *trimmed
}

// Create is raft.SnapshotStore.
func (f followed) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := f.SnapshotStore.Create(v, index, term, c, at, trans)
	if err != nil {
		return nil, err
	}
	return followedSink{sink, f.log, index, term}, nil
}

type followedSink struct {
	raft.SnapshotSink
	log         *trimmed
	index, term uint64
}

// Close is raft.SnapshotSink.
func (s followedSink) Close() error {
	if err := s.SnapshotSink.Close(); err != nil {
		return err
	}
	return s.log.follow(s.index, s.term)
}
