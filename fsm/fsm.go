// Package fsm connects the replicated state to Raft: it applies committed entries, writes
// and reads snapshots, and lets readers wait for an index.
//
// Restore reads a snapshot into a new state and then swaps the states. Apply and Restore
// call the hook on the ownership map before anything that depends on the map is
// acknowledged.
package fsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// Machine is the raft.FSM. Raft does not call Apply, Snapshot and Restore concurrently. All
// other methods may be called concurrently.
type Machine struct {
	state atomic.Pointer[ledger.State]
	onMap func(*ledger.Map)

	stopped atomic.Bool // at an entry that this program does not know
	halted  chan error

	applied atomic.Uint64
	stamped atomic.Pointer[stamp]
	mu      sync.Mutex
	waiting map[*waiter]struct{} // guarded by mu
}

// stamp is a time of the log, and the time at which this machine reached it.
type stamp struct {
	log int64 // milliseconds since 1970
	at  time.Time
}

type waiter struct {
	index uint64
	done  chan struct{}
}

// New returns a machine with the initial state. It calls onMap with each new ownership map,
// on Raft's goroutine: onMap must not block.
func New(onMap func(*ledger.Map)) (*Machine, error) {
	s, err := ledger.NewState()
	if err != nil {
		return nil, err
	}
	m := &Machine{onMap: onMap, waiting: map[*waiter]struct{}{}, halted: make(chan error, 1)}
	m.state.Store(s)
	return m, nil
}

// Apply applies one committed entry and returns its []ledger.Result. For an entry that is
// invalid in every version it returns an error and skips the entry, on every replica. At
// an entry of a newer version the machine stops: nodes that know the entry change their
// state by it, so skipping it would make this replica differ.
func (m *Machine) Apply(l *raft.Log) any {
	if m.stopped.Load() {
		return ErrHalted
	}
	s := m.state.Load()
	var out any
	if c, err := ledger.DecodeCommand(l.Data); errors.Is(err, ledger.ErrBalance) {
		return m.halt(fmt.Errorf("%w at entry %d: %w", ErrUnfit, l.Index, err))
	} else if errors.Is(err, ledger.ErrUnknownCommand) {
		return m.halt(fmt.Errorf("%w at entry %d: %w", ErrHalted, l.Index, err))
	} else if err != nil {
		s.Skip(l.Index)
		out = fmt.Errorf("decode entry %d: %w", l.Index, err)
	} else {
		epoch := s.Map().Epoch
		out = s.Apply(l.Index, c)
		if err := s.Unfit(); err != nil {
			return m.halt(fmt.Errorf("%w at entry %d: %w", ErrUnfit, l.Index, err))
		}
		m.stamp(s.Now())
		if now := s.Map(); now.Epoch != epoch {
			m.onMap(now)
		}
	}
	m.reached(l.Index)
	return out
}

// StoreConfiguration sets the applied index to that of a configuration entry, which Raft
// does not pass to Apply, so that waits for it end.
func (m *Machine) StoreConfiguration(index uint64, _ raft.Configuration) {
	m.state.Load().Skip(index)
	m.reached(index)
}

// ErrHalted is the error of a machine that has stopped. It never continues.
var ErrHalted = errors.New("this program is older than its cluster and must be upgraded: it stopped")

// ErrUnfit is the error of a machine that has stopped because its cluster holds more money
// in one account than this program can count. It never continues.
var ErrUnfit = errors.New("this program cannot go on with the state of its cluster: it stopped")

// Halted delivers the error at which the machine stopped. The process must then exit,
// because its state falls behind.
func (m *Machine) Halted() <-chan error { return m.halted }

// Stopped reports whether the machine has stopped.
func (m *Machine) Stopped() bool { return m.stopped.Load() }

func (m *Machine) halt(err error) error {
	if !m.stopped.Swap(true) {
		m.halted <- err
	}
	return err
}

// Snapshot freezes the state. Persist runs concurrently with Apply.
func (m *Machine) Snapshot() (raft.FSMSnapshot, error) {
	if m.stopped.Load() {
		return nil, ErrHalted // Raft counts entries as applied that this machine has not applied
	}
	return snapshot{m.state.Load().Freeze()}, nil
}

// Restore replaces the state with a snapshot. After an error the state is unchanged.
func (m *Machine) Restore(from io.ReadCloser) error {
	s, err := ledger.ReadState(from)
	if err != nil {
		_ = from.Close() // the error of ReadState is more important
		if errors.Is(err, ledger.ErrBalance) {
			return m.halt(fmt.Errorf("%w at a snapshot: %w", ErrUnfit, err))
		}
		if errors.Is(err, ledger.ErrUnknownCommand) {
			return m.halt(fmt.Errorf("%w at a snapshot: %w", ErrHalted, err))
		}
		return err
	}
	m.state.Store(s)
	m.stamp(s.Now())
	m.onMap(s.Map())
	m.reached(s.Index())
	return from.Close()
}

type snapshot struct{ frozen *ledger.Frozen }

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.frozen.Write(sink); err != nil {
		_ = sink.Cancel() // the error of Write is more important
		return fmt.Errorf("persist snapshot: %w", err)
	}
	return sink.Close()
}

func (s snapshot) Release() {}

// Account returns an account, nil if it does not exist.
func (m *Machine) Account(id string) *ledger.Account { return m.state.Load().Account(id) }

// Table returns the policy in force.
func (m *Machine) Table() *ledger.Table { return m.state.Load().Table() }

// Map returns the ownership map in force.
func (m *Machine) Map() *ledger.Map { return m.state.Load().Map() }

// Replication returns the replication settings of the policy in force.
func (m *Machine) Replication() bucket.Replication { return m.Table().Replication() }

// ClusterID returns the cluster's id, empty before it has one.
func (m *Machine) ClusterID() string { return m.state.Load().ClusterID() }

// Version is ledger.State.Version.
func (m *Machine) Version() uint64 { return m.state.Load().Version() }

// KeysSince is ledger.State.KeysSince.
func (m *Machine) KeysSince() int64 { return m.state.Load().KeysSince() }

// LogTime returns the log's time now, in milliseconds since 1970: that of the last command
// applied, plus the time since then by the process's monotonic clock, because a cluster
// without writes has no new commands. It is 0 before the first command. No wall clock of
// this node changes it.
func (m *Machine) LogTime() int64 {
	at := m.stamped.Load()
	if at == nil || at.log == 0 {
		return 0
	}
	return at.log + time.Since(at.at).Milliseconds()
}

func (m *Machine) stamp(log int64) {
	if was := m.stamped.Load(); was == nil || was.log != log {
		m.stamped.Store(&stamp{log, time.Now()})
	}
}

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

// State returns the current state. Restore replaces it, so callers must not keep it.
func (m *Machine) State() *ledger.State { return m.state.Load() }

// Rule decides everything about a check that needs no bucket.
func (m *Machine) Rule(c *bucket.Check) bucket.Ruling {
	s := m.state.Load()
	return s.Table().Rule(s.Account(c.Account), c)
}

// Index returns the log index of the last applied entry.
func (m *Machine) Index() uint64 { return m.applied.Load() }

// WaitIndex waits until the index is applied. The error wraps ledger.ErrBehind if ctx ends
// first.
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
	if m.applied.Load() >= index { // reached may have run before w was in the set
		return nil
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for index %d, at %d: %w", index, m.applied.Load(), ledger.ErrBehind)
	}
}

// reached publishes the applied index and wakes the goroutines that wait for it.
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
