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

// check reads the log from an index to its end, as Raft does when it starts; but
// Raft panics at what it cannot read.
func (s sealed) check(from uint64) error {
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	for index := max(first, from, 1); index <= last; index++ {
		var l raft.Log
		if err := s.GetLog(index, &l); err != nil {
			return err
		}
	}
	return nil
}
