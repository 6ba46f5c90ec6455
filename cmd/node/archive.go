package node

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"quorate/fsm"
	"quorate/fsm/ledger"
)

// stepWait is how long a step of a restore is retried. The state machine gives up a
// restore without steps some time later.
const stepWait = 20 * time.Second

// spoolPattern is the name of the file that holds a backup while it is restored.
const spoolPattern = "restore-*.spool"

// proposer is the part of the cluster that an archive uses.
type proposer interface {
	Propose(ctx context.Context, ops []ledger.Op) ([]ledger.Result, uint64, error)
}

// archive implements rest.Archive.
type archive struct {
	closing context.Context // of the node
	dir     string          // for spools
	machine *fsm.Machine
	cluster proposer
	one     sync.Mutex // held while this node runs a restore
}

// newArchive removes the files of restores that were interrupted.
func newArchive(closing context.Context, dir string, m *fsm.Machine, p proposer) (*archive, error) {
	left, err := filepath.Glob(filepath.Join(dir, spoolPattern))
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	return &archive{closing: closing, dir: dir, machine: m, cluster: p}, err
}

// Freeze implements rest.Archive.
func (a *archive) Freeze() *ledger.Frozen { return a.machine.State().Freeze() }

// Restore implements rest.Archive. It stores the backup on disk and verifies all of it
// before it proposes anything: a restore blocks the ledger, and a backup that is damaged
// at its end must not do so while it is received.
func (a *archive) Restore(ctx context.Context, from io.Reader, dry bool, by string) (found ledger.Backup, index uint64, err error) {
	if !a.one.TryLock() {
		return found, 0, ledger.ErrRestoring
	}
	defer a.one.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.closing, cancel)()

	spool, err := os.CreateTemp(a.dir, spoolPattern)
	if err != nil {
		return found, 0, fmt.Errorf("store the backup: %w", err)
	}
	defer func() { err = errors.Join(err, spool.Close(), os.Remove(spool.Name())) }()
	kept := bufio.NewWriterSize(spool, 1<<20)
	if found, err = ledger.ReadBackup(io.TeeReader(io.LimitReader(from, ledger.MaxBackup), kept), nil); err != nil {
		if full := kept.Flush(); full != nil {
			return found, 0, fmt.Errorf("store the backup: %w", full)
		}
		return found, 0, err
	}
	if dry {
		return found, 0, nil
	}
	if err = kept.Flush(); err == nil {
		_, err = spool.Seek(0, io.SeekStart)
	}
	if err != nil {
		return found, 0, fmt.Errorf("store the backup: %w", err)
	}
	index, err = a.replay(ctx, spool, by)
	return found, index, err
}

// replay proposes the steps of a restore in order.
func (a *archive) replay(ctx context.Context, from io.Reader, by string) (index uint64, err error) {
	id := rand.Text()
	step := func(s ledger.RestoreStep) error {
		s.ID = id
		op := ledger.Op{Kind: ledger.OpRestore, Restore: &s}
		if s.Kind == ledger.RestoreCommit {
			op.By = by
		}
		index, err = a.propose(ctx, op)
		return err
	}
	if err := step(ledger.RestoreStep{Kind: ledger.RestoreBegin}); err != nil {
		return 0, err
	}
	var n, sum uint64
	_, err = ledger.ReadBackup(from, func(block []byte) error {
		if err := step(ledger.RestoreStep{Kind: ledger.RestoreBlock, Seq: n, Block: block}); err != nil {
			return err
		}
		n, sum = n+1, ledger.RestoreSum(sum, block)
		return nil
	})
	if err == nil {
		err = step(ledger.RestoreStep{Kind: ledger.RestoreCommit, Seq: n, Sum: sum})
	}
	if err != nil {
		// If the abort fails too, the state machine gives up the restore after half a minute.
		_, aborted := a.propose(ctx, ledger.Op{Kind: ledger.OpRestore, Restore: &ledger.RestoreStep{Kind: ledger.RestoreAbort, ID: id}})
		return 0, errors.Join(err, aborted)
	}
	return index, a.machine.WaitIndex(ctx, index)
}

// propose proposes a step until its outcome is known. Steps may be repeated.
func (a *archive) propose(ctx context.Context, op ledger.Op) (uint64, error) {
	for until := time.Now().Add(stepWait); ; {
		results, index, err := a.cluster.Propose(ctx, []ledger.Op{op})
		if err == nil {
			return index, results[0].Err
		}
		if ctx.Err() != nil || time.Now().After(until) {
			return 0, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return 0, err
		}
	}
}
