package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"quorate/limiter/codec"
)

// stageWait is the log's time after which a restore without a further step is abandoned.
const stageWait = 30_000 // milliseconds

// RestoreKind is a step of a restore.
type RestoreKind uint8

// The steps in their order: one begin, each block of the backup, one commit.
const (
	RestoreBegin RestoreKind = iota
	RestoreBlock
	RestoreCommit
	RestoreAbort // abandons the restore
	numRestoreKinds
)

const restoreIDLen = 32

// RestoreStep is one step of a restore. Steps are idempotent: repeating an applied step
// succeeds and changes nothing.
type RestoreStep struct {
	Kind  RestoreKind
	ID    string // id of the restore: unique, 1 to 32 bytes
	Seq   uint64 // RestoreBlock: number of the block, from 0; RestoreCommit: number of blocks
	Block []byte // RestoreBlock: a block from ReadBackup
	Sum   uint64 // RestoreCommit: RestoreSum of all blocks
}

// RestoreSum returns the checksum of the previous blocks, 0 if there are none, extended by
// one block.
func RestoreSum(sum uint64, block []byte) uint64 {
	h := xxhash.NewWithSeed(sum)
	_, _ = h.Write(block) // a hash never fails
	return h.Sum64()
}

// stage is a restore in progress: a second state that grows block by block. The commit
// replaces the current state with it.
type stage struct {
	id    string
	next  uint64 // number of the next block
	last  int64  // the log's time at the last step
	sum   uint64
	state *State
}

type frozenStage struct {
	stage
	frozen *Frozen
}

func (s *State) applyRestoreLocked(index uint64, step *RestoreStep) Result {
	st := s.stage
	mine := st != nil && st.id == step.ID
	switch {
	case step.Kind == RestoreBegin && st == nil:
		empty, err := NewState()
		if err != nil {
			return Result{Err: ErrBadBackup}
		}
		s.stage = &stage{id: step.ID, last: s.now, state: empty}
		return Result{}
	case step.Kind == RestoreBegin && mine, step.Kind == RestoreCommit && s.restored == step.ID, step.Kind == RestoreAbort && !mine:
		return Result{}
	case step.Kind == RestoreBegin:
		return Result{Err: ErrRestoring}
	case !mine:
		return Result{Err: ErrNoRestore}
	}
	st.last = s.now
	switch {
	case step.Kind == RestoreBlock && step.Seq < st.next:
		return Result{}
	case step.Kind == RestoreAbort:
		s.stage = nil
		return Result{}
	case step.Seq != st.next, step.Kind == RestoreCommit && step.Sum != st.sum:
		return Result{Err: ErrNoRestore}
	case step.Kind == RestoreCommit:
		s.stage, s.restored = nil, step.ID
		s.replaceLocked(st.state)
		return Result{Revision: s.Table().Revision, sum: st.sum}
	}
	err := st.read(step.Block, index)
	if err == nil && step.version() > s.version {
		err = ErrUpgrade // a replica of an earlier program cannot read it
	}
	if err != nil {
		s.unfitLocked(err)
		s.stage = nil
		return Result{Err: ErrBadBackup}
	}
	st.next++
	st.sum = RestoreSum(st.sum, step.Block)
	return Result{sum: st.sum}
}

// read adds a block to the staged state. It clamps the index of each key to upTo: a backup
// of another cluster can have indices that this log has not reached, and a client would
// wait for such an index in vain.
func (st *stage) read(block []byte, upTo uint64) error {
	return readBlock(block, func(of section, r *codec.Reader) error { return st.state.readData(of, r, upTo) })
}

// replaceLocked replaces everything that a backup contains. Membership, ownership, the
// cluster's id, the log's index and time, and the audit do not change.
func (s *State) replaceLocked(by *State) {
	s.accounts.Store(by.accounts.Load())
	s.expiries, s.forgot = by.expiries, by.forgot
	by.keys.max = s.keys.max
	s.keys = by.keys
	by.settled.keys.max = s.keys.max
	s.settled.keys, s.settled.forgot = by.settled.keys, by.settled.forgot
	s.tokens.Store(by.Tokens())
	was, t := s.Table(), *by.Table()
	// A revision must always identify the same document.
	same := t.Revision == was.Revision && string(t.Doc) == string(was.Doc)
	if t.Revision <= was.Revision && !same {
		t.Revision = was.Revision + 1
	}
	s.table.Store(&t)
}

// abandonRestoreLocked abandons a restore that had no step for stageWait.
func (s *State) abandonRestoreLocked() {
	if s.stage != nil && s.now-s.stage.last > stageWait {
		s.stage = nil
	}
}

// undoneByRestore reports whether a restore would undo the operation. Such operations are
// refused during a restore: otherwise they would be acknowledged and lost.
func (k OpKind) undoneByRestore() bool {
	switch k {
	case OpEntry, OpSettle, OpPatch, OpPolicy, OpDelete, OpToken, OpRevoke:
		return true
	}
	return false
}

// Restoring reports whether a restore is in progress, and whether it is stale at the given
// time: the next command with that time abandons it.
func (s *State) Restoring(now int64) (under, stale bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.stage == nil {
		return false, false
	}
	return true, now-s.stage.last > stageWait
}

func (st *stage) freeze() *frozenStage {
	return &frozenStage{*st, st.state.freezeLocked()} // only this goroutine uses the staged state
}

func (f *frozenStage) write(b *blocks, v uint64) {
	b.record(secStage, func(w *codec.Writer) {
		w.Array(4)
		w.String(f.id)
		w.Uint(f.next)
		w.Int(f.last)
		w.Uint(f.sum)
	})
	inner := newBlocks(func(block []byte) error {
		b.record(secStaged, func(w *codec.Writer) { w.Bytes(block) })
		return nil
	})
	f.frozen.data(inner, v)
	b.w.Fail(inner.flush())
}

func (s *State) readStage(r *codec.Reader) error {
	empty, err := NewState()
	if err != nil {
		return err
	}
	r.Array(4)
	s.stage = &stage{id: r.String(restoreIDLen), next: r.Uint(), last: r.Int(), sum: r.Uint(), state: empty}
	return r.Err()
}

func (o *RestoreStep) encode(w *codec.Writer) {
	w.Uint(uint64(o.Kind))
	w.String(o.ID)
	w.Uint(o.Seq)
	w.Bytes(o.Block)
	w.Uint(o.Sum)
}

func (o *RestoreStep) decode(r *codec.Reader) {
	o.Kind, o.ID, o.Seq = RestoreKind(r.Below(int(numRestoreKinds))), r.String(restoreIDLen), r.Uint()
	o.Block = r.Bytes(maxBlock)
	o.Sum = r.Uint()
}

// digest is a hash of the content of a backup. It does not cover the log's index and time
// or the index of any entry, nor the unit of money, which differ between clusters with equal content.
type digest struct{ h *xxhash.Digest }

func newDigest() digest { return digest{xxhash.New()} }

func (d digest) block(block []byte) error {
	if len(block) < blockHead {
		return errors.New("a block without a head")
	}
	switch section(block[0]) {
	case secTime, secSettleTime, secHeader, secTotals:
		return nil
	case secPolicy:
		return readBlock(block, func(_ section, r *codec.Reader) error {
			r.Array(2)
			r.Uint()
			_, err := d.h.Write(r.Bytes(MaxPolicy))
			return err
		})
	case secNanoAccounts:
		// In micro-dollars where they can express the account, so that the raise of the
		// version changes no hash.
		w := codec.NewWriter()
		err := readBlock(block, func(_ section, r *codec.Reader) error {
			var a Account
			a.decode(r, nanoVersion)
			a.encode(w, a.version())
			return nil
		})
		if err != nil {
			return err
		}
		records, err := w.Finish()
		d.h.Write(records)
		return err
	case secKeys, secNanoKeys, secSettleKeys:
		return readBlock(block, func(of section, r *codec.Reader) error {
			var k keyRecord
			k.decode(r, of.since())
			b := binary.BigEndian.AppendUint64(k.hash[:], uint64(k.time))
			_, err := d.h.Write(append(binary.BigEndian.AppendUint64(b, uint64(k.amount.in(k.amount.version()))), byte(k.typ)))
			return err
		})
	}
	_, err := d.h.Write(block[blockHead:])
	return err
}

// sum returns the hash in hex.
func (d digest) sum() string { return fmt.Sprintf("%016x", d.h.Sum64()) }
