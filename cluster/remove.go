package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/placement"
	"quorate/fsm/ledger"
)

// The errors of Remove and Transfer.
var (
	ErrUnknownNode = placement.ErrUnknownNode
	ErrLastVoter   = placement.ErrLastVoter
	ErrQuorumLoss  = placement.ErrQuorumLoss
	ErrUnfit       = placement.ErrUnfit
	ErrUnderWay    = errors.New("the removal is ordered and under way")
)

// removals are the answers to a forwarded removal. Append only: the positions
// are on the wire.
var removals = []error{nil, ErrUnknownNode, ErrLastVoter, ErrQuorumLoss, errNotLeader, ErrUnderWay, ledger.ErrUpgrade, ledger.ErrNoQuorum}

// removeRound is how long the leader works on a removal before it reports to the
// node that asked that the removal is under way.
const removeRound = 3 * time.Second

// Removal is an order to take a node out of the cluster.
type Removal struct {
	ID string
	By string // who asked for it, for the audit; may be empty
}

// Remove takes a node out of the cluster for good: it hands over what it owns,
// if it still answers, and its id can never come back. It returns once the
// configuration is committed; the order stands even if ctx ends before. Its
// error wraps ErrUnknownNode, ErrLastVoter, ErrQuorumLoss, ledger.ErrUpgrade, or
// ledger.ErrNoQuorum when no leader took the order.
func (n *Node) Remove(ctx context.Context, r Removal) error {
	ordered := false
	for {
		err := n.tryRemove(ctx, r)
		switch {
		case errors.Is(err, ErrUnderWay):
			ordered = true
		case ordered && errors.Is(err, ErrUnknownNode):
			return nil // another leader has finished it
		case !errors.Is(err, errNotLeader):
			if err != nil {
				err = fmt.Errorf("remove node %s: %w", r.ID, err)
			}
			return err
		}
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			if ordered {
				return fmt.Errorf("remove node %s: %w: %w", r.ID, ErrUnderWay, ctx.Err())
			}
			return fmt.Errorf("remove node %s: %w: %w", r.ID, ledger.ErrNoQuorum, ctx.Err())
		}
	}
}

func (n *Node) tryRemove(ctx context.Context, q Removal) error {
	_, leader := n.raft.LeaderWithID()
	if string(leader) == n.cfg.NodeID {
		return n.remove(ctx, q)
	}
	r := n.peers.get(string(leader))
	if r == nil {
		return errNotLeader
	}
	arg, err := ledger.EncodeOps([]ledger.Op{q.op()})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*removeRound)
	defer cancel()
	b, err := r.client.Call(ctx, methodRemove, arg)
	if err != nil {
		n.cfg.Log.Debug("forward a removal", "to", string(leader), "err", err)
		return errNotLeader
	}
	if len(b) != 1 || int(b[0]) >= len(removals) {
		return fmt.Errorf("leader %s answered %d bytes", leader, len(b))
	}
	return removals[b[0]]
}

func (q Removal) op() ledger.Op { return ledger.Op{Kind: ledger.OpRemove, Node: q.ID, By: q.By} }

func (n *Node) serveRemove(ctx context.Context, arg []byte) ([]byte, error) {
	ops, err := ledger.DecodeOps(arg)
	if err != nil || len(ops) != 1 || ops[0].Kind != ledger.OpRemove {
		return nil, errors.New("no order to remove a node")
	}
	err = n.remove(ctx, Removal{ID: ops[0].Node, By: ops[0].By})
	for i, known := range removals {
		if err == nil && known == nil || known != nil && errors.Is(err, known) {
			return []byte{byte(i)}, nil
		}
	}
	return nil, err
}

// remove orders the removal, as the leader, and watches its own loop do it.
func (n *Node) remove(ctx context.Context, q Removal) error {
	id := q.ID
	ctx, cancel := context.WithTimeout(ctx, removeRound)
	defer cancel()
	if n.raft.State() != raft.Leader {
		return errNotLeader
	}
	v, err := n.gather()
	if err != nil {
		return errNotLeader
	}
	if !n.cfg.FSM.State().Removed(id) {
		if err := v.Removable(id); err != nil {
			return err
		}
		results, _, err := n.apply(ctx, []ledger.Op{q.op()})
		switch {
		case err != nil && notSent(err):
			return errNotLeader
		case err != nil:
			return ErrUnderWay // or not: asking again tells
		case results[0].Err != nil:
			return results[0].Err
		}
		n.cfg.Log.Info("node removed by order", "id", id)
	}
	t := time.NewTicker(n.cfg.Timing.Ping / 4)
	defer t.Stop()
	for {
		n.wake()
		servers, err := n.servers()
		if err != nil {
			return ErrUnderWay
		}
		if find(servers, id) == nil {
			return nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ErrUnderWay
		}
	}
}

func find(servers []raft.Server, id string) *raft.Server {
	for i := range servers {
		if string(servers[i].ID) == id {
			return &servers[i]
		}
	}
	return nil
}
