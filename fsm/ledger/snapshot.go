package ledger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/vmihailenco/msgpack/v5"
)

// ErrSnapshot is a snapshot that is damaged or of another version.
var ErrSnapshot = errors.New("the snapshot is damaged or of another version")

const snapshotVersion = 2

// Frozen is the state as it stood at one log index. It shares accounts and keys
// with the state, which copies what it changes.
type Frozen struct {
	Index     uint64
	now       int64
	forgot    int64
	clusterID string
	table     *Table
	owners    *Map
	accounts  *frozen
	keys      keyLog
	hash      hashAt
}

// Freeze returns the state as it stands, in a time that does not grow with the
// number of accounts. It must not overlap Apply.
func (s *State) Freeze() *Frozen {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &Frozen{
		Index: s.index, now: s.now, forgot: s.forgot, clusterID: s.clusterID,
		table: s.Table(), owners: s.Map(),
		accounts: s.accounts.freeze(), keys: s.keys.freeze(), hash: s.hash.last,
	}
}

// Write writes the snapshot and after it an xxHash64 of all its bytes.
// Replicas of equal state write equal bytes.
func (f *Frozen) Write(to io.Writer) error {
	sum := xxhash.New()
	buf := bufio.NewWriterSize(io.MultiWriter(to, sum), 64<<10)
	w := &writer{e: msgpack.NewEncoder(buf)}
	w.array(11)
	w.uint(snapshotVersion)
	w.uint(f.Index)
	w.int(f.now)
	w.int(f.forgot)
	w.string(f.clusterID)
	w.uint(f.hash.index)
	w.uint(f.hash.sum)
	w.array(2)
	w.uint(f.table.Revision)
	w.bytes(f.table.Doc)
	w.do(f.owners.encode(w.e))
	w.array(f.accounts.len())
	var list []*Account
	for i := range f.accounts {
		// Sorted: the order in a shard is that of the log, not of the accounts.
		list = f.accounts.sorted(i, list)
		for _, a := range list {
			a.encode(w)
		}
	}
	w.array(f.keys.len())
	f.keys.each(func(k *keyRecord) {
		w.array(5)
		w.bytes(k.hash[:])
		w.int(k.time)
		w.uint(k.index)
		w.int(int64(k.amount))
		w.uint(uint64(k.typ))
	})
	w.do(buf.Flush())
	if w.err == nil {
		_, w.err = to.Write(binary.BigEndian.AppendUint64(nil, sum.Sum64()))
	}
	return w.err
}

// ReadState builds a state from a snapshot. Its error wraps ErrSnapshot where
// the bytes are at fault.
func ReadState(from io.Reader) (*State, error) {
	s, err := readState(from)
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w: %w", ErrSnapshot, err)
	}
	return s, nil
}

func readState(from io.Reader) (*State, error) {
	s, err := NewState()
	if err != nil {
		return nil, err
	}
	// The decoder reads byte by byte from what it is given and no further, so
	// that what is hashed is exactly what was decoded.
	in := bufio.NewReaderSize(from, 64<<10)
	sum := &hashingReader{in: in, sum: xxhash.New()}
	r := &reader{d: msgpack.NewDecoder(sum)}
	r.array(11)
	if v := r.uint(); r.err == nil && v != snapshotVersion {
		return nil, fmt.Errorf("version %d, want %d", v, snapshotVersion)
	}
	s.index, s.now, s.forgot, s.clusterID = r.uint(), r.int(), r.int(), r.string(MaxNodeID)
	s.hash.set(hashAt{r.uint(), r.uint()})
	r.array(2)
	revision, doc := r.uint(), r.string(MaxPolicy)
	if r.err != nil {
		return nil, r.err
	}
	t, err := Compile(revision, []byte(doc))
	if err != nil {
		return nil, err
	}
	s.table.Store(t)
	m, err := decodeMap(r.d)
	if err != nil {
		return nil, err
	}
	s.owners.Store(m)
	for range r.arrayUpTo(1 << 31) {
		a := &Account{}
		if a.decode(r); r.err != nil {
			return nil, r.err
		}
		s.accounts.put(a)
		s.expiries.watch(a.ID, a.Overrides)
	}
	for range r.arrayUpTo(2 * MaxKeys) {
		var k keyRecord
		r.array(5)
		copy(k.hash[:], r.string(len(k.hash)))
		k.time, k.index, k.amount, k.typ = r.int(), r.uint(), Micros(r.int()), EntryType(r.small(len(entryNames)))
		if r.err != nil {
			return nil, r.err
		}
		s.keys.add(k)
	}
	if r.err != nil {
		return nil, r.err
	}
	sum.flush()
	var want [8]byte
	if _, err := io.ReadFull(in, want[:]); err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint64(want[:]) != sum.sum.Sum64() {
		return nil, errors.New("the checksum differs")
	}
	return s, nil
}

// hashingReader is a bufio.Reader, with the UnreadByte that the decoder needs
// to peek, that hashes what was consumed.
type hashingReader struct {
	in      *bufio.Reader
	sum     *xxhash.Digest
	last    [1]byte
	pending bool // last was consumed and is not hashed yet
}

func (h *hashingReader) flush() {
	if h.pending {
		_, _ = h.sum.Write(h.last[:]) // a hash never fails
		h.pending = false
	}
}

func (h *hashingReader) Read(p []byte) (int, error) {
	h.flush()
	n, err := h.in.Read(p)
	_, _ = h.sum.Write(p[:n])
	return n, err
}

func (h *hashingReader) ReadByte() (byte, error) {
	h.flush()
	b, err := h.in.ReadByte()
	if err == nil {
		h.last[0], h.pending = b, true
	}
	return b, err
}

func (h *hashingReader) UnreadByte() error {
	h.pending = false
	return h.in.UnreadByte()
}
