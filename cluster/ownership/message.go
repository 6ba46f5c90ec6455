package ownership

import (
	"fmt"

	"quorate/fsm/ledger"
	"quorate/limiter/codec"
)

// Pong is a node's answer to a ping.
type Pong struct {
	Boot           uint64
	Ready          bool // the node has applied its log as it stood at the start
	Leaving        bool // the node drains
	AppliedIndex   uint64
	AppliedEpoch   uint64 // of the map that its state machine has in force
	Wall           int64  // its wall clock, in milliseconds since 1970
	HashIndex      uint64 // of its last command
	Hash           uint64 // the running hash there
	Leases         uint64 // partitions that it holds a lease on
	Incomplete     uint64 // partitions that it owns without complete copies
	Granted        bool   // the lease that the ping asked for
	Removed        bool   // the node that pinged was removed from the cluster
	Epoch          uint64 // of the map that it has adopted, to which Imported belongs
	CommandVersion uint64 // the newest version of commands that it knows
	Term           uint64 // of Raft
	Imported       []byte // one bit for each partition: it was handed over to this node
	Reaches        []string
}

const (
	// maxNodes bounds the nodes that a message can name.
	maxNodes = ledger.MaxMembers

	pingFields = 3
	pongFields = 17
	// maxFields bounds the fields of a message. A reader skips the fields that a later
	// version has added.
	maxFields = 64
)

// Encode returns what DecodePing reads.
func (q *Ping) Encode() ([]byte, error) {
	w := codec.NewWriter()
	w.Array(pingFields)
	w.String(q.From.ID)
	w.Uint(q.From.Boot)
	w.Uint(q.Epoch)
	return w.Finish()
}

// DecodePing reads a ping.
func DecodePing(b []byte) (q Ping, err error) {
	r := codec.NewReader(b)
	more := r.ArrayAtLeast(pingFields, maxFields)
	q.From.ID = r.String(ledger.MaxNodeID)
	q.From.Boot = r.Uint()
	q.Epoch = r.Uint()
	r.Skip(more)
	if err := r.End(); err != nil {
		return Ping{}, fmt.Errorf("ping: %w", err)
	}
	return q, nil
}

// Encode returns what DecodePong reads.
func (p *Pong) Encode() ([]byte, error) {
	w := codec.NewWriter()
	w.Array(pongFields)
	w.Uint(p.Boot)
	w.Bool(p.Ready)
	w.Bool(p.Leaving)
	w.Uint(p.AppliedIndex)
	w.Uint(p.AppliedEpoch)
	w.Int(p.Wall)
	w.Uint(p.HashIndex)
	w.Uint(p.Hash)
	w.Uint(p.Leases)
	w.Uint(p.Incomplete)
	w.Bool(p.Granted)
	w.Bool(p.Removed)
	w.Uint(p.Epoch)
	w.Uint(p.CommandVersion)
	w.Uint(p.Term)
	w.Bytes(p.Imported)
	w.Array(len(p.Reaches))
	for _, id := range p.Reaches {
		w.String(id)
	}
	return w.Finish()
}

// DecodePong reads the answer to a ping.
func DecodePong(b []byte) (p Pong, err error) {
	r := codec.NewReader(b)
	more := r.ArrayAtLeast(pongFields, maxFields)
	p.Boot = r.Uint()
	p.Ready = r.Bool()
	p.Leaving = r.Bool()
	p.AppliedIndex = r.Uint()
	p.AppliedEpoch = r.Uint()
	p.Wall = r.Int()
	p.HashIndex = r.Uint()
	p.Hash = r.Uint()
	p.Leases = r.Uint()
	p.Incomplete = r.Uint()
	p.Granted = r.Bool()
	p.Removed = r.Bool()
	p.Epoch = r.Uint()
	p.CommandVersion = r.Uint()
	p.Term = r.Uint()
	p.Imported = r.Bytes(ledger.Partitions / 8)
	p.Reaches = codec.List(r, maxNodes, func() string { return r.String(ledger.MaxNodeID) })
	r.Skip(more)
	if err := r.End(); err != nil {
		return Pong{}, fmt.Errorf("answer to a ping: %w", err)
	}
	return p, nil
}
