// Package fsm joins the replicated state to Raft: it applies committed
// entries, takes and restores snapshots, and lets readers wait for an index.
//
// Reads go to the state that is in force; a restore builds a new one aside and
// swaps it. The hook on the ownership map fires from Apply and from Restore,
// before anything that depends on it is acknowledged.
package fsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// Machine is the raft.FSM. Raft calls Apply, Snapshot and Restore, never two
// at once; all else may be called at any time.
type Machine struct {
	state atomic.Pointer[ledger.State]
	onMap func(*ledger.Map)

	stopped atomic.Bool // at an entry that this program does not know
	halted  chan error

	applied atomic.Uint64
	mu      sync.Mutex
	waiting map[*waiter]struct{} // guarded by mu
}

type waiter struct {
	index uint64
	done  chan struct{}
}

// New returns a machine at the beginning. onMap is called with each new
// ownership map, on Raft's goroutine: it must not block.
func New(onMap func(*ledger.Map)) (*Machine, error) {
	s, err := ledger.NewState()
	if err != nil {
		return nil, err
	}
	m := &Machine{onMap: onMap, waiting: map[*waiter]struct{}{}, halted: make(chan error, 1)}
	m.state.Store(s)
	return m, nil
}

// Apply applies one committed entry and returns its []ledger.Result, or the
// error of an entry that no version could have meant. All replicas of one
// version return the same. At an entry of a newer version the machine stops: the
// nodes that know it change their state by it, and this one's would differ.
func (m *Machine) Apply(l *raft.Log) any {
	if m.stopped.Load() {
		return ErrHalted
	}
	s := m.state.Load()
	var out any
	if c, err := ledger.DecodeCommand(l.Data); errors.Is(err, ledger.ErrUnknownCommand) {
		return m.halt(fmt.Errorf("%w at entry %d: %w", ErrHalted, l.Index, err))
	} else if err != nil {
		s.Skip(l.Index)
		out = fmt.Errorf("decode entry %d: %w", l.Index, err)
	} else {
		epoch := s.Map().Epoch
		out = s.Apply(l.Index, c)
		if now := s.Map(); now.Epoch != epoch {
			m.onMap(now)
		}
	}
	m.reached(l.Index)
	return out
}

// StoreConfiguration notes the index of an entry that Raft keeps to itself, so
// that waits for it end.
func (m *Machine) StoreConfiguration(index uint64, _ raft.Configuration) {
	m.state.Load().Skip(index)
	m.reached(index)
}

// ErrHalted is what the machine stops with, for good.
var ErrHalted = errors.New("this program is older than its cluster and must be upgraded: it stopped")

// Halted delivers the error that the machine has stopped at. The process must
// end: what it has not applied it cannot tell of.
func (m *Machine) Halted() <-chan error { return m.halted }

// Stopped reports whether the machine has stopped.
func (m *Machine) Stopped() bool { return m.stopped.Load() }

func (m *Machine) halt(err error) error {
	if !m.stopped.Swap(true) {
		m.halted <- err
	}
	return err
}

// Snapshot freezes the state; Persist runs beside Apply.
func (m *Machine) Snapshot() (raft.FSMSnapshot, error) {
	if m.stopped.Load() {
		return nil, ErrHalted // Raft believes that more was applied
	}
	return snapshot{m.state.Load().Freeze()}, nil
}

// Restore replaces the state by a snapshot, whole or not at all.
func (m *Machine) Restore(from io.ReadCloser) error {
	s, err := ledger.ReadState(from)
	if err != nil {
		_ = from.Close() // the damage is the error that counts
		if errors.Is(err, ledger.ErrUnknownCommand) {
			return m.halt(fmt.Errorf("%w at a snapshot: %w", ErrHalted, err))
		}
		return err
	}
	m.state.Store(s)
	m.onMap(s.Map())
	m.reached(s.Index())
	return from.Close()
}

type snapshot struct{ frozen *ledger.Frozen }

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.frozen.Write(sink); err != nil {
		_ = sink.Cancel() // the write's error is the one that counts
		return fmt.Errorf("persist snapshot: %w", err)
	}
	return sink.Close()
}

func (s snapshot) Release() {}

// Account returns an account, nil if it was never seen.
func (m *Machine) Account(id string) *ledger.Account { return m.state.Load().Account(id) }

// Table returns the policy in force.
func (m *Machine) Table() *ledger.Table { return m.state.Load().Table() }

// Map returns the ownership map in force.
func (m *Machine) Map() *ledger.Map { return m.state.Load().Map() }

// Replication returns what the policy in force says of copies.
func (m *Machine) Replication() bucket.Replication { return m.Table().Replication() }

// ClusterID returns the cluster's id, empty before it has one.
func (m *Machine) ClusterID() string { return m.state.Load().ClusterID() }

// KeysSince is ledger.State.KeysSince.
func (m *Machine) KeysSince() int64 { return m.state.Load().KeysSince() }

// List is ledger.State.List.
func (m *Machine) List(q ledger.Query) []*ledger.Account { return m.state.Load().List(q) }

// Entry is ledger.State.Entry.
func (m *Machine) Entry(account, key string) (ledger.Entry, bool) {
	return m.state.Load().Entry(account, key)
}

// Tokens is ledger.State.Tokens.
func (m *Machine) Tokens() *ledger.Tokens { return m.state.Load().Tokens() }

// Audit is ledger.State.Audit.
func (m *Machine) Audit(before uint64, limit int) ([]ledger.AuditRecord, bool) {
	return m.state.Load().Audit(before, limit)
}

// State returns the state in force, for what the methods below do not cover.
func (m *Machine) State() *ledger.State { return m.state.Load() }

// Rule decides all of a check that needs no bucket.
func (m *Machine) Rule(c *bucket.Check) bucket.Ruling {
	s := m.state.Load()
	return s.Table().Rule(s.Account(c.Account), c)
}

// Index returns the log index up to which the state has applied.
func (m *Machine) Index() uint64 { return m.applied.Load() }

// WaitIndex waits until the index is applied, or returns an error that wraps
// ledger.ErrBehind when ctx ends first.
func (m *Machine) WaitIndex(ctx context.Context, index uint64) error {
	if m.applied.Load() >= index {
		return nil
	}
	w := &waiter{index: index, done: make(chan struct{})}
	m.mu.Lock()
	m.waiting[w] = struct{}{}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.waiting, w)
		m.mu.Unlock()
	}()
	if m.applied.Load() >= index { // reached may have run before we were in the set
		return nil
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for index %d, at %d: %w", index, m.applied.Load(), ledger.ErrBehind)
	}
}

// reached publishes the applied index and wakes those who waited for it.
func (m *Machine) reached(index uint64) {
	for {
		at := m.applied.Load()
		if index <= at || m.applied.CompareAndSwap(at, index) {
			break
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for w := range m.waiting {
		if w.index <= index {
			close(w.done)
			delete(m.waiting, w)
		}
	}
}
