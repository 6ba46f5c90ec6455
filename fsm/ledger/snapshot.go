package ledger

import (
	"errors"
	"fmt"
	"io"

	"quorate/limiter/codec"
)

// ErrSnapshot is wrapped by the errors of an invalid snapshot.
var ErrSnapshot = errors.New("the snapshot is damaged or of another version")

// Frozen is an immutable view of the state at one log index. It shares accounts and keys
// with the state, which copies before it changes them.
type Frozen struct {
	Index     uint64
	now       int64
	forgot    int64
	clusterID string
	version   uint64
	restored  string
	removed   []string
	settings  Settings
	settled   settlements
	table     *Table
	owners    *Map
	accounts  *frozen
	keys      keyLog
	hash      hashAt
	tokens    *Tokens
	audit     auditLog
	stage     *frozenStage
}

// Freeze returns a view of the current state. Its time does not depend on the number of
// accounts.
func (s *State) Freeze() *Frozen {
	s.mu.Lock() // excludes Apply, because freezing starts a generation
	defer s.mu.Unlock()
	f := s.freezeLocked()
	if s.stage != nil {
		f.stage = s.stage.freeze()
	}
	return f
}

func (s *State) freezeLocked() *Frozen {
	settled := s.settled
	keys := settled.keys.freeze()
	settled.keys = &keys
	return &Frozen{
		settled: settled,
		Index:   s.index, now: s.now, forgot: s.forgot, clusterID: s.clusterID, version: s.version, restored: s.restored, removed: s.removed, settings: s.settings,
		table: s.Table(), owners: s.Map(),
		accounts: s.accounts.Load().freeze(), keys: s.keys.freeze(), hash: s.hash.last,
		tokens: s.Tokens(), audit: s.audit,
	}
}

// Write writes a snapshot. Equal states write equal bytes.
func (f *Frozen) Write(to io.Writer) error {
	out, err := newFileWriter(to, snapshotMagic)
	if err != nil {
		return err
	}
	b := newBlocks(out.block)
	b.record(secCluster, f.encodeCluster)
	b.record(secOwners, f.owners.encode)
	for _, r := range f.audit.kept() {
		b.record(secAudit, r.encode)
	}
	for _, id := range f.removed {
		b.record(secRemoved, func(w *codec.Writer) { w.String(id) })
	}
	if f.settled.secret != nil {
		b.record(secSecret, func(w *codec.Writer) { encodeSecret(w, f.settled.secret, f.settled.since) })
	}
	for k, v := range f.settings {
		if v != 0 {
			b.record(secSetting, func(w *codec.Writer) {
				w.Array(2)
				Setting{SettingKind(k), v}.encode(w)
			})
		}
	}
	f.data(b, f.version)
	if f.stage != nil {
		f.stage.write(b, f.version)
	}
	if err := b.flush(); err != nil {
		return err
	}
	return out.end(to)
}

// data writes the sections that a backup contains, in the form of version v.
func (f *Frozen) data(b *blocks, v uint64) {
	accounts, keys := secAccounts, secKeys
	if v >= nanoVersion {
		accounts, keys = secNanoAccounts, secNanoKeys
	}
	b.record(secTime, func(w *codec.Writer) {
		w.Array(2)
		w.Int(f.now)
		w.Int(f.forgot)
	})
	b.record(secPolicy, func(w *codec.Writer) {
		w.Array(2)
		w.Uint(f.table.Revision)
		w.Bytes(f.table.Doc)
	})
	for _, k := range f.tokens.List() {
		b.record(secTokens, k.encode)
	}
	var list []*Account
	for i := range f.accounts {
		// Sort the accounts: their order in a shard depends on the order of commands.
		list = f.accounts.sorted(i, list)
		for _, a := range list {
			b.record(accounts, func(w *codec.Writer) { a.encode(w, v) })
		}
	}
	f.keys.each(func(k *keyRecord) { b.record(keys, func(w *codec.Writer) { k.encode(w, v) }) })
	if f.settled.forgot != 0 {
		b.record(secSettleTime, func(w *codec.Writer) {
			w.Array(1)
			w.Int(f.settled.forgot)
		})
	}
	f.settled.keys.each(func(k *keyRecord) { b.record(secSettleKeys, func(w *codec.Writer) { k.encode(w, v) }) })
}

func (f *Frozen) encodeCluster(w *codec.Writer) {
	w.Array(6)
	w.Uint(f.Index)
	w.String(f.clusterID)
	w.Uint(f.version)
	w.Uint(f.hash.index)
	w.Uint(f.hash.sum)
	w.String(f.restored)
}

func (k *keyRecord) encode(w *codec.Writer, v uint64) {
	w.Array(5)
	w.Bytes(k.hash[:])
	w.Int(k.time)
	w.Uint(k.index)
	k.amount.encode(w, v)
	w.Uint(uint64(k.typ))
}

func (k *keyRecord) decode(r *codec.Reader, v uint64) {
	r.Array(5)
	r.Fill(k.hash[:])
	k.time, k.index = r.Int(), r.Uint()
	k.amount, _ = moneyIn(r.Int(), v) // an applied entry's amount always fits
	k.typ = decodeEntryType(r, v)
}

// ReadState reads a state from a snapshot. The error wraps ErrSnapshot, and
// ErrUnknownCommand if a newer program wrote the snapshot.
func ReadState(from io.Reader) (*State, error) {
	s, err := NewState()
	if err != nil {
		return nil, err
	}
	err = readFile(from, snapshotMagic, func(block []byte) error { return readBlock(block, s.readRecord) })
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w: %w", ErrSnapshot, err)
	}
	return s, nil
}

// readRecord adds one record of a snapshot to a new state that only the caller uses.
func (s *State) readRecord(of section, r *codec.Reader) error {
	switch of {
	case secCluster:
		r.Array(6)
		s.index, s.clusterID, s.version = r.Uint(), r.String(MaxNodeID), r.Uint()
		s.hash.set(hashAt{r.Uint(), r.Uint()})
		s.restored = r.String(restoreIDLen)
		if s.version > newestVersion {
			return fmt.Errorf("the cluster uses command version %d, this program knows %d: %w", s.version, newestVersion, ErrUnknownCommand)
		}
	case secOwners:
		m := decodeMap(r)
		if m == nil {
			return r.Err()
		}
		s.owners.Store(m)
	case secAudit:
		var a AuditRecord
		if a.decode(r); r.Err() == nil {
			s.audit.add(&a)
		}
		return r.Err()
	case secRemoved:
		id := r.String(MaxNodeID)
		if len(s.removed) >= MaxRemoved {
			return fmt.Errorf("more than %d nodes removed", MaxRemoved)
		}
		s.removed = append(s.removed, id)
	case secSecret:
		s.settled.decodeSecret(r)
		return r.Err()
	case secSetting:
		r.Array(2)
		if v := decodeSetting(r); r.Err() == nil {
			s.setLocked(v)
		}
		return r.Err()
	case secStage:
		return s.readStage(r)
	case secStaged:
		block := r.Bytes(maxBlock)
		if r.Err() != nil {
			return r.Err()
		}
		if s.stage == nil {
			return errors.New("a block of a restore without its restore")
		}
		return s.stage.read(block, maxIndex)
	default:
		return s.readData(of, r, maxIndex)
	}
	return nil
}

// maxIndex is larger than every index of the log.
const maxIndex = 1<<64 - 1

// readData adds one record of a backup to the state. It clamps the index of a key to upTo.
func (s *State) readData(of section, r *codec.Reader, upTo uint64) error {
	switch of {
	case secTime:
		r.Array(2)
		s.now, s.forgot = r.Int(), r.Int()
	case secPolicy:
		r.Array(2)
		revision, doc := r.Uint(), r.Bytes(MaxPolicy)
		if r.Err() != nil {
			return r.Err()
		}
		t, err := Compile(revision, doc)
		if err != nil {
			return err
		}
		s.table.Store(t)
	case secTokens:
		k := &Token{}
		if k.decode(r); r.Err() != nil {
			return r.Err()
		}
		if s.Tokens().Len() >= MaxTokens {
			return fmt.Errorf("more than %d tokens", MaxTokens)
		}
		s.tokens.Store(s.Tokens().with(k))
	case secAccounts, secNanoAccounts:
		a := &Account{}
		if a.decode(r, of.since()); r.Err() != nil {
			return r.Err()
		}
		s.accounts.Load().put(a)
		s.expiries.watch(a.ID, a.Overrides)
	case secKeys, secNanoKeys:
		var k keyRecord
		if k.decode(r, of.since()); r.Err() != nil {
			return r.Err()
		}
		if s.keys.len() >= 2*MaxKeyMemoryEntries {
			return fmt.Errorf("more than %d keys", 2*MaxKeyMemoryEntries)
		}
		k.index = min(k.index, upTo)
		s.keys.add(k)
	case secSettleTime:
		r.Array(1)
		s.settled.forgot = r.Int()
	case secSettleKeys:
		var k keyRecord
		if k.decode(r, of.since()); r.Err() != nil {
			return r.Err()
		}
		if s.settled.keys.len() >= 2*MaxKeyMemoryEntries {
			return fmt.Errorf("more than %d keys of settlements", 2*MaxKeyMemoryEntries)
		}
		k.index = min(k.index, upTo)
		s.settled.keys.add(k)
	default:
		return fmt.Errorf("%w: it was written by a newer program", ErrUnknownCommand)
	}
	return nil
}
