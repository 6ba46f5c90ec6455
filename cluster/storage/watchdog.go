package storage

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// deleteBatch is how many entries one transaction deletes. A longer transaction would
// delay the next append, because raft-boltdb has one writer.
const deleteBatch = 4096

// Store is the log and the stable store of Raft.
type Store interface {
	raft.LogStore
	raft.StableStore
}

// Watchdog raises a fault when the disk fails or hangs. Raft does not: a leader with a
// hanging disk would lead forever, since heartbeats need no disk, and one with a
// failing disk would be elected again and again (hashicorp/raft#503).
//
// After the first failed write the watchdog refuses all further ones. While an
// operation hangs, Stalled is true, so that the transport can stop sending and the
// other nodes elect a leader before this node stops.
type Watchdog struct {
	store   Store
	fault   *Fault
	timeout time.Duration // of one operation

	stalled atomic.Bool // an operation takes more than a third of timeout

	mu       sync.Mutex
	last     uint64               // number of the last operation; guarded by mu
	pending  map[uint64]time.Time // start of each operation under way; guarded by mu
	observed time.Time            // when observe last ran; guarded by mu
}

var _ Store = (*Watchdog)(nil)

// NewWatchdog returns a watchdog around a store. It raises ErrDiskFailed on f when a
// write fails, and ErrDiskStalled when an operation takes longer than timeout, which
// only Run notices.
func NewWatchdog(s Store, f *Fault, timeout time.Duration) *Watchdog {
	return &Watchdog{store: s, fault: f, timeout: timeout, pending: map[uint64]time.Time{}, observed: time.Now()}
}

// Stalled reports whether an operation has taken more than a third of the timeout: a
// leader in this state should be replaced.
func (w *Watchdog) Stalled() bool { return w.stalled.Load() }

// Run looks for operations that hang, until done is closed.
func (w *Watchdog) Run(done <-chan struct{}, log *slog.Logger) {
	t := time.NewTicker(w.interval())
	defer t.Stop()
	for {
		select {
		case <-t.C:
			before := w.stalled.Load()
			since := w.observe(time.Now())
			if !before && w.stalled.Load() {
				log.Warn("the disk does not answer: as leader this node sends nothing to followers", "for", since.Round(time.Millisecond))
			}
			if since > w.timeout {
				w.fault.Raise(fmt.Errorf("%w: one operation takes %s", ErrDiskStalled, since.Round(time.Millisecond)))
				return
			}
		case <-done:
			return
		}
	}
}

func (w *Watchdog) interval() time.Duration { return w.timeout / 10 }

// observe returns how long the oldest operation has taken. A gap between two calls
// counts as two intervals at most: it means that the process was suspended, not that
// its disk hangs.
func (w *Watchdog) observe(now time.Time) (since time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	late := now.Sub(w.observed) - 2*w.interval()
	w.observed = now
	for id, start := range w.pending {
		if late > 0 {
			if start = start.Add(late); start.After(now) {
				start = now
			}
			w.pending[id] = start
		}
		since = max(since, now.Sub(start))
	}
	w.stalled.Store(since > w.timeout/3)
	return since
}

func (w *Watchdog) begin(now time.Time) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	id := w.last
	w.pending[id] = now
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(w.pending, id); len(w.pending) == 0 {
			w.stalled.Store(false)
		}
	}
}

// write runs one write. It returns the fault if one was raised.
func (w *Watchdog) write(what string, fn func() error) error {
	if err := w.fault.Err(); err != nil {
		return err
	}
	end := w.begin(time.Now())
	err := fn()
	end()
	if err != nil {
		err = fmt.Errorf("%w: %s: %w", ErrDiskFailed, what, err)
		w.fault.Raise(err)
	}
	return err
}

// StoreLog implements raft.LogStore.
func (w *Watchdog) StoreLog(l *raft.Log) error {
	return w.write("append to the log", func() error { return w.store.StoreLog(l) })
}

// StoreLogs implements raft.LogStore.
func (w *Watchdog) StoreLogs(l []*raft.Log) error {
	return w.write("append to the log", func() error { return w.store.StoreLogs(l) })
}

// Set implements raft.StableStore.
func (w *Watchdog) Set(key, v []byte) error {
	return w.write("store a vote", func() error { return w.store.Set(key, v) })
}

// SetUint64 implements raft.StableStore. Raft panics if the term cannot be stored, so
// that error is not returned: the fault stops the node in order, and since every later
// write is refused the node can neither vote nor acknowledge in that term.
func (w *Watchdog) SetUint64(key []byte, v uint64) error {
	err := w.write("store the term", func() error { return w.store.SetUint64(key, v) })
	if err != nil && bytes.Equal(key, keyCurrentTerm) {
		return nil
	}
	return err
}

// GetLog implements raft.LogStore.
func (w *Watchdog) GetLog(index uint64, l *raft.Log) error {
	defer w.begin(time.Now())()
	return w.store.GetLog(index, l)
}

// FirstIndex implements raft.LogStore.
func (w *Watchdog) FirstIndex() (uint64, error) {
	defer w.begin(time.Now())()
	return w.store.FirstIndex()
}

// LastIndex implements raft.LogStore.
func (w *Watchdog) LastIndex() (uint64, error) {
	defer w.begin(time.Now())()
	return w.store.LastIndex()
}

// Get implements raft.StableStore.
func (w *Watchdog) Get(key []byte) ([]byte, error) {
	defer w.begin(time.Now())()
	return w.store.Get(key)
}

// GetUint64 implements raft.StableStore.
func (w *Watchdog) GetUint64(key []byte) (uint64, error) {
	defer w.begin(time.Now())()
	return w.store.GetUint64(key)
}

// DeleteRange implements raft.LogStore. It deletes in batches. A range
// at the front of the log is deleted from its start; any other, and the whole log,
// from its end, so that a crash leaves no gap within the log or after a snapshot.
func (w *Watchdog) DeleteRange(low, high uint64) error {
	first, err := w.FirstIndex()
	if err != nil {
		return err
	}
	last, err := w.LastIndex()
	if err != nil {
		return err
	}
	if low, high = max(low, first), min(high, last); first == 0 || low > high {
		return nil
	}
	front := low == first && high < last
	for low <= high {
		from, to := low, min(high, low+deleteBatch-1)
		if !front {
			from, to = max(low, high-min(high, deleteBatch-1)), high
		}
		err := w.write("delete from the log", func() error { return w.store.DeleteRange(from, to) })
		if err != nil {
			return err
		}
		if front {
			low = to + 1
		} else if from == low {
			return nil
		} else {
			high = from - 1
		}
	}
	return nil
}
