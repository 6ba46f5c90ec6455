package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"
)

// ErrLogDamaged is a log that holds something else than was stored.
var ErrLogDamaged = errors.New("the log on this disk is damaged: replace this node by one with a new id and an empty directory")

// sealed keeps a checksum with each entry, which the store below has none of: a
// byte that changes on the disk would be applied on this node alone. It is in the
// entry's extensions on the disk, and nowhere else. Entries of before there were
// checksums have none, and pass.
type sealed struct{ store }

const sealVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal returns what is kept with an entry.
func seal(l *raft.Log) []byte {
	head := binary.BigEndian.AppendUint64(nil, l.Index)
	head = binary.BigEndian.AppendUint64(head, l.Term)
	head = append(head, byte(l.Type))
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, l.Data)
	return binary.BigEndian.AppendUint32([]byte{sealVersion}, sum)
}

// StoreLog is raft.LogStore.
func (s sealed) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs is raft.LogStore. Entries are Raft's: what is stored are copies.
func (s sealed) StoreLogs(logs []*raft.Log) error {
	copies := make([]raft.Log, len(logs))
	out := make([]*raft.Log, len(logs))
	for i, l := range logs {
		copies[i] = *l
		copies[i].Extensions = seal(l)
		out[i] = &copies[i]
	}
	return s.store.StoreLogs(out)
}

// GetLog is raft.LogStore. Raft reads the whole log when it starts, so damage of
// before is found then.
func (s sealed) GetLog(index uint64, l *raft.Log) error {
	err := s.store.GetLog(index, l)
	if errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: entry %d: %w", ErrLogDamaged, index, err)
	}
	if l.Index != index || len(l.Extensions) > 0 && !bytes.Equal(l.Extensions, seal(l)) {
		return fmt.Errorf("%w: entry %d", ErrLogDamaged, index)
	}
	l.Extensions = nil
	return nil
}

// check reads the log behind a snapshot, of an index and a term, to its end, as Raft
// does when it starts; but Raft panics at what it cannot read. An entry that is
// missing is damage as well.
func (s sealed) check(snapshot, term uint64) error {
	from := snapshot + 1
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
	for index := from; index <= last; index++ {
		l = raft.Log{}
		if err := s.GetLog(index, &l); errors.Is(err, raft.ErrLogNotFound) {
			return fmt.Errorf("%w: entry %d is missing", ErrLogDamaged, index)
		} else if err != nil {
			return err
		}
	}
	return s.checkTerm(max(l.Term, term))
}

// checkTerm wants Raft's term to be no earlier than that of the last entry and that
// of the last vote: this node would vote again in terms that it has voted in.
func (s sealed) checkTerm(last uint64) error {
	term, err := s.GetUint64(keyCurrentTerm)
	if err != nil && !isMissing(err) {
		return err
	}
	vote, err := (&voteStore{StableStore: s}).GetUint64(keyVoteTerm)
	if err != nil && !isMissing(err) {
		return err
	}
	if term < max(last, vote) {
		return fmt.Errorf("%w: term %d, after a vote in %d and an entry of %d", ErrLogDamaged, term, vote, last)
	}
	return nil
}
