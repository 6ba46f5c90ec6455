package cluster

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// chunk is how many entries are deleted in one transaction: a longer one would
// keep the next append waiting (raft-boltdb has one writer).
const chunk = 4096

// store is what Raft keeps on disk.
type store interface {
	raft.LogStore
	raft.StableStore
}

// guard stops the node when its disk fails or hangs. Raft itself would have a
// leader with a hanging disk lead for ever, since heartbeats need no disk, and
// one with a failing disk be elected again and again (hashicorp/raft#503). After
// the first failed write it refuses all further ones. While an operation hangs the
// transport keeps quiet, so that the others elect a leader before the node ends.
type guard struct {
	store
	fault *fault
	after time.Duration // how long an operation may take

	// hanging is set while an operation takes more than a third of after: who leads
	// had better be replaced.
	hanging atomic.Bool

	mu     sync.Mutex
	last   uint64               // guarded by mu
	busy   map[uint64]time.Time // operations under way, since when; guarded by mu
	looked time.Time            // when watch last looked at them; guarded by mu
}

func newGuard(s store, f *fault, after time.Duration) *guard {
	return &guard{store: s, fault: f, after: after, busy: map[uint64]time.Time{}, looked: time.Now()}
}

// watch looks for operations that hang, until done is closed.
func (g *guard) watch(done <-chan struct{}, log *slog.Logger) {
	t := time.NewTicker(g.pace())
	defer t.Stop()
	for {
		select {
		case <-t.C:
			was := g.hanging.Load()
			since := g.look(time.Now())
			if !was && g.hanging.Load() {
				log.Warn("the disk does not answer: if this node leads, it falls silent", "for", since.Round(time.Millisecond))
			}
			if since > g.after {
				g.fault.raise(fmt.Errorf("%w: one operation takes %s", ErrDiskStalled, since.Round(time.Millisecond)))
				return
			}
		case <-done:
			return
		}
	}
}

func (g *guard) pace() time.Duration { return g.after / 10 }

// look returns how long the oldest operation has taken. Of the time in which nobody
// looked, two paces count at most: the process stood still, not its disk.
func (g *guard) look(now time.Time) (since time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	late := now.Sub(g.looked) - 2*g.pace()
	g.looked = now
	for id, start := range g.busy {
		if late > 0 {
			if start = start.Add(late); start.After(now) {
				start = now
			}
			g.busy[id] = start
		}
		since = max(since, now.Sub(start))
	}
	g.hanging.Store(since > g.after/3)
	return since
}

func (g *guard) begin(now time.Time) (end func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	id := g.last
	g.busy[id] = now
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if delete(g.busy, id); len(g.busy) == 0 {
			g.hanging.Store(false)
		}
	}
}

// write runs one write, unless one has failed before.
func (g *guard) write(what string, fn func() error) error {
	if err := g.fault.Err(); err != nil {
		return err
	}
	end := g.begin(time.Now())
	err := fn()
	end()
	if err != nil {
		err = fmt.Errorf("%w: %s: %w", ErrDiskFailed, what, err)
		g.fault.raise(err)
	}
	return err
}

// StoreLog is raft.LogStore.
func (g *guard) StoreLog(l *raft.Log) error {
	return g.write("append to the log", func() error { return g.store.StoreLog(l) })
}

// StoreLogs is raft.LogStore.
func (g *guard) StoreLogs(l []*raft.Log) error {
	return g.write("append to the log", func() error { return g.store.StoreLogs(l) })
}

// Set is raft.StableStore.
func (g *guard) Set(key, v []byte) error {
	return g.write("store a vote", func() error { return g.store.Set(key, v) })
}

// SetUint64 is raft.StableStore. Raft panics when the term cannot be stored. It
// is not told: the node stops in order, and with every later write refused it
// can neither vote nor acknowledge in that term.
func (g *guard) SetUint64(key []byte, v uint64) error {
	err := g.write("store the term", func() error { return g.store.SetUint64(key, v) })
	if err != nil && string(key) == "CurrentTerm" {
		return nil
	}
	return err
}

// GetLog is raft.LogStore.
func (g *guard) GetLog(index uint64, l *raft.Log) error {
	defer g.begin(time.Now())()
	return g.store.GetLog(index, l)
}

// FirstIndex is raft.LogStore.
func (g *guard) FirstIndex() (uint64, error) {
	defer g.begin(time.Now())()
	return g.store.FirstIndex()
}

// LastIndex is raft.LogStore.
func (g *guard) LastIndex() (uint64, error) {
	defer g.begin(time.Now())()
	return g.store.LastIndex()
}

// Get is raft.StableStore.
func (g *guard) Get(key []byte) ([]byte, error) {
	defer g.begin(time.Now())()
	return g.store.Get(key)
}

// GetUint64 is raft.StableStore.
func (g *guard) GetUint64(key []byte) (uint64, error) {
	defer g.begin(time.Now())()
	return g.store.GetUint64(key)
}

// DeleteRange is raft.LogStore. A range that begins where the log begins is
// deleted from its start, any other and the whole log from its end, so that what a
// crash leaves has no gap, neither within nor behind a snapshot.
func (g *guard) DeleteRange(low, high uint64) error {
	first, err := g.FirstIndex()
	if err != nil {
		return err
	}
	last, err := g.LastIndex()
	if err != nil {
		return err
	}
	if low, high = max(low, first), min(high, last); first == 0 || low > high {
		return nil
	}
	front := low == first && high < last
	for low <= high {
		from, to := low, min(high, low+chunk-1)
		if !front {
			from, to = max(low, high-min(high, chunk-1)), high
		}
		err := g.write("delete from the log", func() error { return g.store.DeleteRange(from, to) })
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
