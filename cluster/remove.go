package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"quorate/fsm/ledger"
)

// The errors of Remove.
var (
	ErrUnknownNode = errors.New("no such node in the cluster")
	ErrLastVoter   = errors.New("it is the only node with a vote")
	ErrQuorumLoss  = errors.New("of the nodes with a vote that stay, no majority answers")
	ErrUnderWay    = errors.New("the removal is ordered and under way")
)

// removals are the answers to a forwarded removal. Append only: the positions
// are on the wire.
var removals = []error{nil, ErrUnknownNode, ErrLastVoter, ErrQuorumLoss, errNotLeader, ErrUnderWay, ledger.ErrUpgrade, ledger.ErrNoQuorum}

const (
	// handOverFor is how long a removed node that answers has to hand over what
	// it owns; then its successors take it as from a dead one.
	handOverFor = 8 * time.Second
	// removeRound is how long the leader works on a removal before it tells the
	// node that asked how far it is.
	removeRound = 3 * time.Second
)

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
	v, err := n.gather(time.Now())
	if err != nil {
		return errNotLeader
	}
	if !n.cfg.FSM.State().Removed(id) {
		if err := removable(v, id); err != nil {
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
	} else if find(v.servers, id) == nil {
		return nil
	}
	t := time.NewTicker(n.cfg.Timing.Ping / 4)
	defer t.Stop()
	for {
		n.wake()
		f := n.raft.GetConfiguration()
		if err := f.Error(); err != nil {
			return ErrUnderWay
		}
		if find(f.Configuration().Servers, id) == nil {
			return nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ErrUnderWay
		}
	}
}

// removable says why a node cannot be removed. It is pure.
func removable(v view, id string) error {
	s := find(v.servers, id)
	if s == nil {
		return ErrUnknownNode
	}
	if s.Suffrage != raft.Voter {
		return nil
	}
	left, up := 0, 0
	for _, other := range v.servers {
		if other.Suffrage == raft.Voter && other.ID != s.ID {
			left++
			if v.nodes[string(other.ID)].up {
				up++
			}
		}
	}
	switch {
	case left == 0:
		return ErrLastVoter
	case up < left/2+1:
		return ErrQuorumLoss
	}
	return nil
}

// dropping returns a node that was removed by order and can go now: it owns
// nothing and grants nothing any more. Were it taken out while its grants count,
// the change of the grantors would wait for its word for ever.
func dropping(v view) *raft.Server {
	owned := v.owners.Owned()
	for i := range v.servers {
		s := &v.servers[i]
		k := v.nodes[string(s.ID)]
		if !k.removed || removable(v, string(s.ID)) != nil {
			continue
		}
		grants := slices.Contains(v.owners.Grantors, string(s.ID)) || slices.Contains(v.owners.Retiring, string(s.ID))
		if !k.up || owned[string(s.ID)] == 0 && !grants || k.since > handOverFor {
			return s
		}
	}
	return nil
}

func find(servers []raft.Server, id string) *raft.Server {
	for i := range servers {
		if string(servers[i].ID) == id {
			return &servers[i]
		}
	}
	return nil
}
