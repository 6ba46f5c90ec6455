package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"quorate/fsm/ledger"
)

// transfers are the answers to a forwarded transfer. Append only: the positions
// are on the wire.
var transfers = []error{nil, ErrUnknownNode, ErrLastVoter, ErrUnfit, errNotLeader}

// Transfer has the leader hand leadership to another voter, to the one that
// lacks least where to is empty, and returns who leads then. Its error wraps
// ErrUnknownNode, ErrLastVoter, ErrUnfit, or ledger.ErrNoQuorum where no leader
// could be asked.
func (n *Node) Transfer(ctx context.Context, to string) (string, error) {
	for {
		leader, err := n.tryTransfer(ctx, to)
		if !errors.Is(err, errNotLeader) {
			return leader, err
		}
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return "", fmt.Errorf("transfer leadership: %w: %w", ledger.ErrNoQuorum, err)
		}
	}
}

func (n *Node) tryTransfer(ctx context.Context, to string) (string, error) {
	_, at := n.raft.LeaderWithID()
	leader := string(at)
	switch {
	case leader == "":
		return "", errNotLeader
	case leader == to:
		return to, nil
	case leader == n.cfg.NodeID:
		return n.transfer(ctx, to)
	}
	r := n.peers.get(leader)
	if r == nil {
		return "", errNotLeader
	}
	b, err := r.client.Call(ctx, methodTransfer, []byte(to))
	if err != nil || len(b) == 0 || int(b[0]) >= len(transfers) {
		return "", fmt.Errorf("%w: leader %s: %w", errNotLeader, leader, err)
	}
	return string(b[1:]), transfers[b[0]]
}

func (n *Node) serveTransfer(ctx context.Context, arg []byte) ([]byte, error) {
	leader, err := n.transfer(ctx, string(arg))
	for i, known := range transfers {
		if err == nil && known == nil || known != nil && errors.Is(err, known) {
			return append([]byte{byte(i)}, leader...), nil
		}
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
	n.cfg.Log.Info("handing leadership over", "to", s.ID)
	if err := n.wait(ctx, n.raft.LeadershipTransferToServer(raft.ServerID(s.ID), raft.ServerAddress(s.Address))); err != nil {
		return "", fmt.Errorf("%w: %w", errNotLeader, err)
	}
	return s.ID, nil
}

// stepDown hands leadership over if this node leads, before it closes. If there is
// no target, the other nodes elect a leader.
func (n *Node) stepDown(ctx context.Context) {
	if n.raft.State() != raft.Leader {
		return
	}
	if _, err := n.transfer(ctx, ""); err != nil && !errors.Is(err, ErrLastVoter) {
		n.cfg.Log.Info("leadership was not handed over", "err", err)
	}
}
