package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"quorate/fsm/ledger"
)

// ReadIndex returns a log index that covers every write acknowledged before
// the call. The leader takes its commit index, then verifies with a majority
// that it still leads in the same term: an index taken after that could belong
// to a leader that has been replaced since. Its error wraps
// ledger.ErrNoQuorum.
func (n *Node) ReadIndex(ctx context.Context) (uint64, error) {
	index, err := onLeader(ctx, n, leaderCall[uint64]{local: n.readIndex, method: methodReadIndex, decode: decodeIndex})
	if err != nil {
		return 0, fmt.Errorf("read index: %w: %w", ledger.ErrNoQuorum, err)
	}
	return index, nil
}

func decodeIndex(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("the leader answered %d bytes", len(b))
	}
	return binary.BigEndian.Uint64(b), nil
}

var errTermChanged = errors.New("the term changed")

// readIndex is ReadIndex on the leader.
func (n *Node) readIndex(ctx context.Context) (uint64, error) {
	term := n.term()
	// Until an entry of its own term is committed, the commit index of a new leader may
	// lack entries that its predecessor acknowledged. The entry is a command, not a
	// barrier: the state machine never sees Raft's own entries, so a reader would wait
	// for ever for the index of one.
	if n.confirmed.Load() != term {
		if _, _, err := n.apply(ctx, []ledger.Op{{Kind: ledger.OpTick}}); err != nil {
			return 0, err
		}
		if n.term() != term {
			return 0, errTermChanged
		}
		n.confirmed.Store(term)
	}
	index := n.raft.CommitIndex()
	if err := n.verifyLeader(ctx, term); err != nil {
		return 0, err
	}
	if n.term() != term {
		return 0, errTermChanged
	}
	return index, nil
}

func (n *Node) serveReadIndex(ctx context.Context) ([]byte, error) {
	if n.raft.State() != raft.Leader {
		return nil, errNotLeader
	}
	index, err := n.readIndex(ctx)
	if err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint64(nil, index), nil
}

func (n *Node) term() uint64 { return n.raft.CurrentTerm() }

// wait waits for a future of Raft or the end of ctx. After the end of ctx the future ends
// by itself, at the latest with leadership.
func (n *Node) wait(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.Join(ctx.Err(), errNoAnswer)
	}
}
