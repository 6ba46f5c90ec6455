package ownership

import (
	"fmt"

	"quorate/fsm/ledger"
	"quorate/limiter/codec"
)

// Incarnation is the random number of one start of a process. Two processes on copies
// of one data directory may count the same boot; their incarnations differ.
type Incarnation [16]byte

// Start is a node's question whether this boot of it may take part: what it has on its
// disk now.
type Start struct {
	ID          string
	Boot        uint64
	Incarnation Incarnation
	Index       uint64 // of the last entry of its log and snapshots
	Term        uint64 // of Raft
}

// Reported is what a node has said of itself in its answers to pings.
type Reported struct {
	Boot  uint64
	Index uint64 // applied
	Term  uint64
}

// add takes over what is more. Answers may overtake each other.
func (r *Reported) add(p *Pong) {
	r.Boot, r.Index, r.Term = max(r.Boot, p.Boot), max(r.Index, p.AppliedIndex), max(r.Term, p.Term)
}

// Reason is why a node may not start.
type Reason uint8

// The reasons. The numbers are on the wire: append only.
const (
	NoReason   Reason = iota
	OlderLog          // the log lacks entries that the node had applied
	OlderTerm         // the node had seen a later term: it may have voted there
	OlderBoot         // the boot number is lower than one that the cluster knows
	OtherBoot         // the boot number is known with another incarnation
	OtherAlive        // another process of the node answers
)

// Refusal is the answer to a Start. The zero Refusal permits it.
type Refusal struct {
	Reason Reason
	Known  Reported // what the refusing node knows
}

// Start answers whether a boot of another node may take part, and remembers one that may.
// alive are the processes that have answered, after the question had arrived, at every
// address that the node is known at.
func (n *Node) Start(q *Start, alive []Start) Refusal {
	known := Reported{}
	if p := n.peers[q.ID]; p != nil {
		known = p.Most
	}
	known.Boot = max(known.Boot, n.applied.Boot(q.ID), n.adopted.Boot(q.ID))
	f := Permit(q, known, n.permitted[q.ID], alive)
	if f.Reason == NoReason && (n.peers[q.ID] != nil || len(n.permitted) < maxNodes) {
		n.permitted[q.ID] = *q
	}
	return f
}

// Permit decides whether a boot may take part: known is the most that was heard of the
// node, and last its last start that was permitted, zero if none was.
//
// An applied entry is committed, and stays on the disk from then on, and so does a term:
// neither ever falls on the disk of a node that has kept it. So a directory that holds
// less than its node has reported is not the one that the node has written last. Of the
// processes in alive, one of the same node with another boot or incarnation runs beside
// the one that asks: a process that has ended answers nothing.
func Permit(q *Start, known Reported, last Start, alive []Start) Refusal {
	for i := range alive {
		if a := &alive[i]; a.ID == q.ID && (a.Boot != q.Boot || a.Incarnation != q.Incarnation) {
			return Refusal{OtherAlive, known}
		}
	}
	switch {
	case q.Index < known.Index:
		return Refusal{OlderLog, known}
	case q.Term < known.Term:
		return Refusal{OlderTerm, known}
	case q.Boot < max(known.Boot, last.Boot):
		known.Boot = max(known.Boot, last.Boot)
		return Refusal{OlderBoot, known}
	case q.Boot == last.Boot && q.Incarnation != last.Incarnation:
		return Refusal{OtherBoot, known}
	}
	return Refusal{}
}

// Explain returns what the refusal says of the question, in words.
func (r *Refusal) Explain(q *Start) string {
	switch r.Reason {
	case OlderLog:
		return fmt.Sprintf("its log ends at index %d, and node %s had applied index %d", q.Index, q.ID, r.Known.Index)
	case OlderTerm:
		return fmt.Sprintf("it is of term %d, and node %s had seen term %d", q.Term, q.ID, r.Known.Term)
	case OlderBoot:
		return fmt.Sprintf("this would be boot %d of node %s, and the cluster knows boot %d", q.Boot, q.ID, r.Known.Boot)
	case OtherBoot:
		return fmt.Sprintf("the cluster knows boot %d of node %s as that of another process", q.Boot, q.ID)
	case OtherAlive:
		return fmt.Sprintf("another process of node %s answers", q.ID)
	}
	return fmt.Sprintf("reason %d", r.Reason)
}

const (
	startFields   = 5
	refusalFields = 4
)

// Encode returns what DecodeStart reads.
func (q *Start) Encode() ([]byte, error) {
	w := codec.NewWriter()
	w.Array(startFields)
	w.String(q.ID)
	w.Uint(q.Boot)
	w.Bytes(q.Incarnation[:])
	w.Uint(q.Index)
	w.Uint(q.Term)
	return w.Finish()
}

// DecodeStart reads a question.
func DecodeStart(b []byte) (q Start, err error) {
	r := codec.NewReader(b)
	more := r.ArrayAtLeast(startFields, maxFields)
	q.ID = r.String(ledger.MaxNodeID)
	q.Boot = r.Uint()
	r.Fill(q.Incarnation[:])
	q.Index, q.Term = r.Uint(), r.Uint()
	r.Skip(more)
	if err := r.End(); err != nil {
		return Start{}, fmt.Errorf("start of a node: %w", err)
	}
	return q, nil
}

// Encode returns what DecodeRefusal reads.
func (r *Refusal) Encode() ([]byte, error) {
	w := codec.NewWriter()
	w.Array(refusalFields)
	w.Uint(uint64(r.Reason))
	w.Uint(r.Known.Boot)
	w.Uint(r.Known.Index)
	w.Uint(r.Known.Term)
	return w.Finish()
}

// DecodeRefusal reads the answer to a question. A reason of a later version is a reason.
func DecodeRefusal(b []byte) (f Refusal, err error) {
	r := codec.NewReader(b)
	more := r.ArrayAtLeast(refusalFields, maxFields)
	f.Reason = Reason(r.Below(256))
	f.Known = Reported{r.Uint(), r.Uint(), r.Uint()}
	r.Skip(more)
	if err := r.End(); err != nil {
		return Refusal{}, fmt.Errorf("answer to the start of a node: %w", err)
	}
	return f, nil
}
