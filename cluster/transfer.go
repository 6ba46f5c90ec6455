package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"quorate/fsm/ledger"
)

// ErrUnfit is a node that cannot lead now.
var ErrUnfit = errors.New("it cannot lead now: it has no vote, does not answer, lags or is leaving")

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
	v, err := n.gather(time.Now())
	if err != nil {
		return "", errNotLeader
	}
	s, err := heir(v, n.cfg.NodeID, to)
	if err != nil {
		return "", err
	}
	n.cfg.Log.Info("handing leadership over", "to", string(s.ID))
	if err := n.wait(ctx, n.raft.LeadershipTransferToServer(s.ID, s.Address)); err != nil {
		return "", fmt.Errorf("%w: %w", errNotLeader, err)
	}
	return string(s.ID), nil
}

// heir returns the voter that is to lead after self: the one given, or the one
// that has applied most. It is pure.
func heir(v view, self, to string) (best raft.Server, err error) {
	if to != "" && find(v.servers, to) == nil {
		return best, ErrUnknownNode
	}
	err = ErrLastVoter
	for _, s := range v.servers {
		id := string(s.ID)
		switch k := v.nodes[id]; {
		case id == self, to == "" && s.Suffrage != raft.Voter, to != "" && to != id:
		case s.Suffrage != raft.Voter, !k.up, !k.ready, k.leaving:
			if best.ID == "" {
				err = ErrUnfit
			}
		case best.ID == "" || k.applied > v.nodes[string(best.ID)].applied:
			best, err = s, nil
		}
	}
	return best, err
}

// bequeath hands leadership over where this node has it, on its way out. Nobody
// to take it is no error: the others elect one.
func (n *Node) bequeath(ctx context.Context) {
	if n.raft.State() != raft.Leader {
		return
	}
	if _, err := n.transfer(ctx, ""); err != nil && !errors.Is(err, ErrLastVoter) {
		n.cfg.Log.Info("leadership was not handed over", "err", err)
	}
}
