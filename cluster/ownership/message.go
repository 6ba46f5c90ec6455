package ownership

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// Pong is a node's answer to a ping.
type Pong struct {
	Boot           uint64
	Ready          bool // it has applied its log as it stood at the start
	Leaving        bool // it is to own nothing
	AppliedIndex   uint64
	AppliedEpoch   uint64 // of the map that its state machine has in force
	Wall           int64  // its wall clock, in milliseconds since 1970
	HashIndex      uint64 // of its last command
	Hash           uint64 // the running hash there
	Leases         uint64 // partitions that it holds a lease on
	Incomplete     uint64 // partitions of its own without whole copies
	Granted        bool   // the lease that the ping asked for
	Removed        bool   // the node that pinged was removed from the cluster
	Epoch          uint64 // of the map that it has adopted, which Imported goes by
	CommandVersion uint64 // the newest version of commands that it knows
	Term           uint64 // of Raft
	Imported       []byte // a bit a partition: those that were handed over to it
	Reaches        []string
}

const (
	// maxNodes bounds the nodes that a message can name.
	maxNodes = ledger.MaxMembers

	pingFields = 3
	pongFields = 17
	// maxFields bounds the fields of a message. A reader takes what a later
	// version has added, and does not look at it.
	maxFields = 64
)

// Encode returns what DecodePing reads.
func (q *Ping) Encode() ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	err := bucket.Fields(
		func() error { return e.EncodeArrayLen(pingFields) },
		func() error { return e.EncodeString(q.From.ID) },
		func() error { return e.EncodeUint(q.From.Boot) },
		func() error { return e.EncodeUint(q.Epoch) },
	)
	return buf.Bytes(), err
}

// DecodePing reads a ping.
func DecodePing(b []byte) (q Ping, err error) {
	d := msgpack.NewDecoder(bytes.NewReader(b))
	if err = readFields(d, pingFields); err != nil {
		return q, fmt.Errorf("ping: %w", err)
	}
	err = bucket.Fields(
		func() (err error) { q.From.ID, err = bucket.ReadString(d, ledger.MaxNodeID); return err },
		func() (err error) { q.From.Boot, err = d.DecodeUint64(); return err },
		func() (err error) { q.Epoch, err = d.DecodeUint64(); return err },
	)
	return q, err
}

// readFields reads the length of a message that has at least so many fields.
func readFields(d *msgpack.Decoder, atLeast int) error {
	n, err := bucket.ReadLen(d, -maxFields)
	if err == nil && n < atLeast {
		err = fmt.Errorf("%d fields, at least %d", n, atLeast)
	}
	return err
}

// Encode returns what DecodePong reads.
func (p *Pong) Encode() ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	err := bucket.Fields(
		func() error { return e.EncodeArrayLen(pongFields) },
		func() error { return e.EncodeUint(p.Boot) },
		func() error { return e.EncodeBool(p.Ready) },
		func() error { return e.EncodeBool(p.Leaving) },
		func() error { return e.EncodeUint(p.AppliedIndex) },
		func() error { return e.EncodeUint(p.AppliedEpoch) },
		func() error { return e.EncodeInt(p.Wall) },
		func() error { return e.EncodeUint(p.HashIndex) },
		func() error { return e.EncodeUint(p.Hash) },
		func() error { return e.EncodeUint(p.Leases) },
		func() error { return e.EncodeUint(p.Incomplete) },
		func() error { return e.EncodeBool(p.Granted) },
		func() error { return e.EncodeBool(p.Removed) },
		func() error { return e.EncodeUint(p.Epoch) },
		func() error { return e.EncodeUint(p.CommandVersion) },
		func() error { return e.EncodeUint(p.Term) },
		func() error { return e.EncodeBytes(p.Imported) },
		func() error { return e.EncodeArrayLen(len(p.Reaches)) },
	)
	for _, id := range p.Reaches {
		err = errors.Join(err, e.EncodeString(id))
	}
	return buf.Bytes(), err
}

// DecodePong reads the answer to a ping.
func DecodePong(b []byte) (p Pong, err error) {
	d := msgpack.NewDecoder(bytes.NewReader(b))
	if err = readFields(d, pongFields); err != nil {
		return p, fmt.Errorf("answer to a ping: %w", err)
	}
	if err = bucket.Fields(
		func() (err error) { p.Boot, err = d.DecodeUint64(); return err },
		func() (err error) { p.Ready, err = d.DecodeBool(); return err },
		func() (err error) { p.Leaving, err = d.DecodeBool(); return err },
		func() (err error) { p.AppliedIndex, err = d.DecodeUint64(); return err },
		func() (err error) { p.AppliedEpoch, err = d.DecodeUint64(); return err },
		func() (err error) { p.Wall, err = d.DecodeInt64(); return err },
		func() (err error) { p.HashIndex, err = d.DecodeUint64(); return err },
		func() (err error) { p.Hash, err = d.DecodeUint64(); return err },
		func() (err error) { p.Leases, err = d.DecodeUint64(); return err },
		func() (err error) { p.Incomplete, err = d.DecodeUint64(); return err },
		func() (err error) { p.Granted, err = d.DecodeBool(); return err },
		func() (err error) { p.Removed, err = d.DecodeBool(); return err },
		func() (err error) { p.Epoch, err = d.DecodeUint64(); return err },
		func() (err error) { p.CommandVersion, err = d.DecodeUint64(); return err },
		func() (err error) { p.Term, err = d.DecodeUint64(); return err },
		func() error {
			bits, err := bucket.ReadString(d, ledger.Partitions/8)
			p.Imported = []byte(bits)
			return err
		},
	); err != nil {
		return p, err
	}
	n, err := bucket.ReadLen(d, -maxNodes)
	for range n {
		id, err := bucket.ReadString(d, ledger.MaxNodeID)
		if err != nil {
			return p, err
		}
		p.Reaches = append(p.Reaches, id)
	}
	return p, err
}
