package cluster

import (
	"bytes"
	"errors"

	"github.com/vmihailenco/msgpack/v5"

	"quorate/cluster/lease"
	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// health is a node's answer to a ping.
type health struct {
	boot    uint64
	ready   bool
	leaving bool // it is to own nothing
	applied uint64
	epoch   uint64
	wall    int64    // its clock, in milliseconds since 1970
	hashed  uint64   // index of its last command, and the running hash there
	hash    uint64   //
	leases  uint64   // partitions that it holds a lease on
	lacking uint64   // partitions of its own without whole copies
	reaches []string // nodes that have answered it lately
	granted bool     // the lease that the ping asked for
	removed bool     // who pinged was removed from the cluster
	since   uint64   // the epoch that holding is of
	knows   uint64   // the newest version of commands
	term    uint64   // of Raft
	holding []byte   // a bit a partition: those that were handed over to it
}

// maxNodes bounds the nodes that a message can name.
const maxNodes = ledger.MaxMembers

func encodePing(q lease.Request) ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	err := bucket.Fields(
		func() error { return e.EncodeArrayLen(3) },
		func() error { return e.EncodeString(q.ID) },
		func() error { return e.EncodeUint(q.Boot) },
		func() error { return e.EncodeUint(q.Epoch) },
	)
	return buf.Bytes(), err
}

func decodePing(b []byte) (q lease.Request, err error) {
	d := msgpack.NewDecoder(bytes.NewReader(b))
	if _, err = bucket.ReadLen(d, 3); err != nil {
		return q, err
	}
	err = bucket.Fields(
		func() (err error) { q.ID, err = bucket.ReadString(d, ledger.MaxNodeID); return err },
		func() (err error) { q.Boot, err = d.DecodeUint64(); return err },
		func() (err error) { q.Epoch, err = d.DecodeUint64(); return err },
	)
	return q, err
}

func (h *health) encode() ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	err := bucket.Fields(
		func() error { return e.EncodeArrayLen(17) },
		func() error { return e.EncodeUint(h.boot) },
		func() error { return e.EncodeBool(h.ready) },
		func() error { return e.EncodeBool(h.leaving) },
		func() error { return e.EncodeUint(h.applied) },
		func() error { return e.EncodeUint(h.epoch) },
		func() error { return e.EncodeInt(h.wall) },
		func() error { return e.EncodeUint(h.hashed) },
		func() error { return e.EncodeUint(h.hash) },
		func() error { return e.EncodeUint(h.leases) },
		func() error { return e.EncodeUint(h.lacking) },
		func() error { return e.EncodeBool(h.granted) },
		func() error { return e.EncodeBool(h.removed) },
		func() error { return e.EncodeUint(h.since) },
		func() error { return e.EncodeUint(h.knows) },
		func() error { return e.EncodeUint(h.term) },
		func() error { return e.EncodeBytes(h.holding) },
		func() error { return e.EncodeArrayLen(len(h.reaches)) },
	)
	for _, id := range h.reaches {
		err = errors.Join(err, e.EncodeString(id))
	}
	return buf.Bytes(), err
}

func decodeHealth(b []byte) (h health, err error) {
	d := msgpack.NewDecoder(bytes.NewReader(b))
	if _, err = bucket.ReadLen(d, 17); err != nil {
		return h, err
	}
	if err = bucket.Fields(
		func() (err error) { h.boot, err = d.DecodeUint64(); return err },
		func() (err error) { h.ready, err = d.DecodeBool(); return err },
		func() (err error) { h.leaving, err = d.DecodeBool(); return err },
		func() (err error) { h.applied, err = d.DecodeUint64(); return err },
		func() (err error) { h.epoch, err = d.DecodeUint64(); return err },
		func() (err error) { h.wall, err = d.DecodeInt64(); return err },
		func() (err error) { h.hashed, err = d.DecodeUint64(); return err },
		func() (err error) { h.hash, err = d.DecodeUint64(); return err },
		func() (err error) { h.leases, err = d.DecodeUint64(); return err },
		func() (err error) { h.lacking, err = d.DecodeUint64(); return err },
		func() (err error) { h.granted, err = d.DecodeBool(); return err },
		func() (err error) { h.removed, err = d.DecodeBool(); return err },
		func() (err error) { h.since, err = d.DecodeUint64(); return err },
		func() (err error) { h.knows, err = d.DecodeUint64(); return err },
		func() (err error) { h.term, err = d.DecodeUint64(); return err },
		func() error {
			bits, err := bucket.ReadString(d, ledger.Partitions/8)
			h.holding = []byte(bits)
			return err
		},
	); err != nil {
		return h, err
	}
	n, err := bucket.ReadLen(d, -maxNodes)
	for range n {
		id, err := bucket.ReadString(d, ledger.MaxNodeID)
		if err != nil {
			return h, err
		}
		h.reaches = append(h.reaches, id)
	}
	return h, err
}
