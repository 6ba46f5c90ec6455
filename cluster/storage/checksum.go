package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// ErrLogDamaged means that the log does not hold what was stored.
var ErrLogDamaged = errors.New("the log on this disk is damaged: replace this node by one with a new id and an empty directory")

// Log adds a checksum to each entry of a log. The store below it has none, and a byte
// that changes on the disk would be applied by this node alone. The checksum is in the
// extensions of the stored entry and nowhere else. Entries from versions without
// checksums have none, and are accepted.
type Log struct{ Store }

const checksumVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the extensions to store with an entry.
func checksum(l *raft.Log) []byte {
	head := binary.BigEndian.AppendUint64(nil, l.Index)
	head = binary.BigEndian.AppendUint64(head, l.Term)
	head = append(head, byte(l.Type))
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, l.Data)
	return binary.BigEndian.AppendUint32([]byte{checksumVersion}, sum)
}

// StoreLog implements raft.LogStore.
func (s *Log) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. It stores copies, because the entries are Raft's.
func (s *Log) StoreLogs(logs []*raft.Log) error {
	copies := make([]raft.Log, len(logs))
	out := make([]*raft.Log, len(logs))
	for i, l := range logs {
		copies[i] = *l
		copies[i].Extensions = checksum(l)
		out[i] = &copies[i]
	}
	return s.Store.StoreLogs(out)
}

// GetLog implements raft.LogStore. Raft reads the whole log when it starts, so earlier
// damage is found then.
func (s *Log) GetLog(index uint64, l *raft.Log) error {
	err := s.Store.GetLog(index, l)
	if errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: entry %d: %w", ErrLogDamaged, index, err)
	}
	if l.Index != index || len(l.Extensions) > 0 && !bytes.Equal(l.Extensions, checksum(l)) {
		return fmt.Errorf("%w: entry %d", ErrLogDamaged, index)
	}
	l.Extensions = nil
	return nil
}

// Verify reads the log from the end of a snapshot, given by the index and term of its
// last entry, to the end of the log, as Raft does when it starts; but Raft panics at
// an entry that cannot be read. A missing entry is damage as well, and so is a current
// term below that of the last entry or the last vote: the node would vote again in
// terms that it has voted in. The error wraps ErrLogDamaged if the log is damaged.
func (s *Log) Verify(index, term uint64) error {
	from := index + 1
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	if last >= from && first > from {
		return fmt.Errorf("%w: entries %d to %d are missing", ErrLogDamaged, from, first-1)
	}
	var l raft.Log
	for i := from; i <= last; i++ {
		l = raft.Log{}
		if err := s.GetLog(i, &l); errors.Is(err, raft.ErrLogNotFound) {
			return fmt.Errorf("%w: entry %d is missing", ErrLogDamaged, i)
		} else if err != nil {
			return err
		}
	}
	return s.verifyTerm(max(l.Term, term))
}

// verifyTerm checks that the current term is not below the given term of the last
// entry, nor below that of the last vote.
func (s *Log) verifyTerm(last uint64) error {
	term, err := s.GetUint64(keyCurrentTerm)
	if err != nil && !isNotFound(err) {
		return err
	}
	vote, err := NewVoteStore(s).GetUint64(keyVoteTerm)
	if err != nil && !isNotFound(err) {
		return err
	}
	if term < max(last, vote) {
		return fmt.Errorf("%w: term %d, after a vote in %d and an entry of %d", ErrLogDamaged, term, vote, last)
	}
	return nil
}
