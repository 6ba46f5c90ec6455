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

// removeRound is how long the leader works on a removal before it reports to the
// node that asked that the removal is under way.
const removeRound = 3 * time.Second

// Removal is an order to take a node out of the cluster.
type Removal struct {
	ID string
	By string // the user that ordered it, for the audit; may be empty
}

// Remove takes a node out of the cluster for good: the node hands over its partitions if
// it answers, and its id cannot be used again. It returns once the
// configuration is committed; the order stands even if ctx ends before. Its
// error wraps ErrUnknownNode, ErrLastVoter, ErrQuorumLoss, ledger.ErrUpgrade, or
// ledger.ErrNoQuorum when no leader took the order.
func (n *Node) Remove(ctx context.Context, r Removal) error {
	arg, err := ledger.EncodeOps([]ledger.Op{r.op()})
	if err != nil {
		return err
	}
	ordered := false
	ended := repeat(ctx, func() bool {
		ctx, cancel := context.WithTimeout(ctx, 2*removeRound)
		defer cancel()
		_, err = onLeader(ctx, n, leaderCall[struct{}]{
			local:  func(ctx context.Context) (struct{}, error) { return struct{}{}, n.remove(ctx, r) },
			method: methodRemove, arg: arg, decode: decodeRemoved,
		})
		if ordered && errors.Is(err, ErrUnknownNode) {
			err = nil // another leader has finished it
		}
		ordered = ordered || errors.Is(err, ErrUnderWay)
		return errors.Is(err, ErrUnderWay) || mayRepeat(err)
	})
	switch {
	case ended != nil && ordered:
		err = fmt.Errorf("%w: %w", ErrUnderWay, ended)
	case ended != nil:
		err = fmt.Errorf("%w: %w", ledger.ErrNoQuorum, ended)
	}
	if err != nil {
		return fmt.Errorf("remove node %s: %w", r.ID, err)
	}
	return nil
}

func decodeRemoved(b []byte) (none struct{}, err error) {
	if len(b) == 1 {
		if err, ok := removal.decode(b[0]); ok {
			return none, err
		}
	}
	return none, fmt.Errorf("the leader answered %d bytes", len(b))
}

func (q Removal) op() ledger.Op { return ledger.Op{Kind: ledger.OpRemove, Node: q.ID, By: q.By} }

func (n *Node) serveRemove(ctx context.Context, arg []byte) ([]byte, error) {
	ops, err := ledger.DecodeOps(arg)
	if err != nil || len(ops) != 1 || ops[0].Kind != ledger.OpRemove {
		return nil, errors.New("no order to remove a node")
	}
	err = n.remove(ctx, Removal{ID: ops[0].Node, By: ops[0].By})
	if code, ok := removal.encode(err); ok {
		return []byte{code}, nil
	}
	return nil, err
}

// remove is Remove on the leader. It writes the order and waits until leaderLoop
// has carried it out, for removeRound at most.
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
			return ErrUnderWay // perhaps not: the next call tells
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
