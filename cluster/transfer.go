package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"quorate/fsm/ledger"
)

// Transfer orders the leader to transfer leadership to the voter to, or if to is empty to
// the voter that has applied most, and returns the new leader. Its error
// wraps ErrUnknownNode, ErrLastVoter, ErrUnfit, or ledger.ErrNoQuorum if no
// leader could be asked.
func (n *Node) Transfer(ctx context.Context, to string) (leader string, err error) {
	ended := repeat(ctx, func() bool {
		if _, at := n.raft.LeaderWithID(); to != "" && string(at) == to {
			leader, err = to, nil
			return false
		}
		leader, err = onLeader(ctx, n, leaderCall[string]{
			local:  func(ctx context.Context) (string, error) { return n.transfer(ctx, to) },
			method: methodTransfer, arg: []byte(to), decode: decodeTransferred,
		})
		return mayRepeat(err)
	})
	if ended != nil {
		return "", fmt.Errorf("transfer leadership: %w: %w", ledger.ErrNoQuorum, err)
	}
	return leader, err
}

func decodeTransferred(b []byte) (leader string, err error) {
	if len(b) > 0 {
		if err, ok := transfer.decode(b[0]); ok {
			return string(b[1:]), err
		}
	}
	return "", fmt.Errorf("%w: it answered %d bytes", errNotLeader, len(b))
}

func (n *Node) serveTransfer(ctx context.Context, arg []byte) ([]byte, error) {
	leader, err := n.transfer(ctx, string(arg))
	if code, ok := transfer.encode(err); ok {
		return append([]byte{code}, leader...), nil
	}
	return nil, err
}

// transfer is Transfer on the leader.
func (n *Node) transfer(ctx context.Context, to string) (string, error) {
	if n.raft.State() != raft.Leader {
		return "", errNotLeader
	}
	v, err := n.gather()
	if err != nil {
		return "", errNotLeader
	}
	s, err := v.TransferTarget(to)
	if err != nil {
		return "", err
	}
	n.cfg.Log.Info("transferring leadership", "to", s.ID)
	if err := n.wait(ctx, n.raft.LeadershipTransferToServer(raft.ServerID(s.ID), raft.ServerAddress(s.Address))); err != nil {
		return "", fmt.Errorf("%w: %w", errNotLeader, err)
	}
	return s.ID, nil
}

// stepDown transfers leadership if this node leads, before the node closes. If there is no
// target, the other nodes elect a leader.
func (n *Node) stepDown(ctx context.Context) {
	if n.raft.State() != raft.Leader {
		return
	}
	if _, err := n.transfer(ctx, ""); err != nil && !errors.Is(err, ErrLastVoter) {
		n.cfg.Log.Info("leadership was not transferred", "err", err)
	}
}
