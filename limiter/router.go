package limiter

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"quorate/limiter/bucket"
)

// Peers asks other nodes. Calls may overlap.
type Peers interface {
	// Check asks the node for a decision. An error means that the node gave none;
	// it may have counted the check all the same. After a refusal by a newer map
	// this node has adopted that map.
	Check(ctx context.Context, node string, route bucket.Route, c *bucket.Check, d *bucket.Decision) error
	// Settle asks the node to settle a reservation of its own.
	Settle(ctx context.Context, node string, s *bucket.Settlement) (bucket.Settled, error)
}

// Router finds the node that decides a check: it drives the Walk of the check, and an
// Attempt where the walk has this node decide as the owner.
type Router struct {
	node    string
	local   *Local
	members Membership
	peers   Peers
	behind  error // what an error must wrap to mean that an index was not reached

	Forwarded atomic.Uint64 // checks that another node decided
	Degraded  atomic.Uint64 // checks that a fallback decided
}

// NewRouter returns a router of the named node. behind is the sentinel for an
// index that could not be waited for.
func NewRouter(node string, local *Local, members Membership, peers Peers, behind error) *Router {
	return &Router{node: node, local: local, members: members, peers: peers, behind: behind}
}

// Check decides, or has decided, one check. A check that no node may decide is
// bucket.Unavailable; an error wraps the behind sentinel.
func (r *Router) Check(ctx context.Context, c *bucket.Check, d *bucket.Decision) error {
	if c.MinIndex > r.local.rules.Index() {
		wait, cancel := context.WithTimeout(ctx, indexWait)
		err := r.local.rules.WaitIndex(wait, c.MinIndex)
		cancel()
		if err != nil {
			return err
		}
	}
	var w Walk
	w.Enter(r.node, r.members, c)
	err := r.walk(ctx, &w, c, d)
	switch {
	case errors.Is(err, r.behind):
		return err
	case err != nil:
		*d = bucket.Decision{Reason: bucket.Unavailable, Limits: d.Limits[:0], Hit: -1, DecidedBy: r.node, Index: r.local.rules.Index()}
	case d.Degraded:
		r.Degraded.Add(1)
	}
	return nil
}

// Serve decides a check that another node asks for. With noWait it returns
// ErrWouldWait instead of waiting or asking a node.
func (r *Router) Serve(ctx context.Context, route bucket.Route, c *bucket.Check, d *bucket.Decision, noWait bool) error {
	var w Walk
	w.Serve(r.node, r.members, route, c, noWait)
	return r.walk(ctx, &w, c, d)
}

// errNotReady is the error of AnswerNotReady: a node that has not caught up with its log
// knows less of accounts than it did, and would refuse accounts that have paid.
var errNotReady = errors.New("this node has not caught up with its log")

// walk makes the steps of a walk. Its error is that of the last step.
func (r *Router) walk(ctx context.Context, w *Walk, c *bucket.Check, d *bucket.Decision) (err error) {
	out, partition := Pending, r.local.cfg.Partition(c.Account)
	for {
		part, epoch := r.local.Placement(partition)
		switch s := w.Next(r.local.now(), epoch, part, out); s.Do {
		case AskNode:
			err = r.ask(ctx, &s, c, d)
		case DecideAsOwner:
			err = r.local.Own(ctx, c, d, w.noWait)
		case DecideAsFallback:
			err = r.local.Fallback(ctx, c, d)
		case AwaitMap:
			if err := r.local.awaitEpoch(ctx, s.Epoch, s.For); err != nil {
				return err
			}
			continue
		default:
			return s.Err(err)
		}
		if err == nil {
			return nil // Decided ends any walk
		}
		out = OutcomeOf(err, r.behind)
	}
}

// ask makes the step of asking another node.
func (r *Router) ask(ctx context.Context, s *Step, c *bucket.Check, d *bucket.Decision) error {
	ctx, cancel := context.WithTimeout(ctx, s.For)
	defer cancel()
	if err := r.peers.Check(ctx, s.Node, bucket.Route{Role: s.Role, Epoch: s.Epoch}, c, d); err != nil {
		return fmt.Errorf("ask node %s: %w", s.Node, err)
	}
	r.Forwarded.Add(1)
	return nil
}

// Settle settles a reservation at the owner of its account, and waits a while for a
// partition that moves. Its error means that no node that could know the reservation
// was reached.
func (r *Router) Settle(ctx context.Context, s *bucket.Settlement) (bucket.Settled, error) {
	began := r.local.now()
	for {
		changed := r.local.RoleChanged()
		what, err := r.settle(ctx, s)
		if err == nil || r.local.now()-began >= arriveFor {
			return what, err
		}
		if err := await(ctx, changed, settleEvery); err != nil {
			return what, err
		}
	}
}

// settle asks the nodes that hold the account, in order, until one decides on it.
func (r *Router) settle(ctx context.Context, s *bucket.Settlement) (what bucket.Settled, err error) {
	err = errNoOwner
	for _, id := range r.local.HoldersOf(s.Account) {
		if id == "" {
			continue
		}
		if what, err = r.settleAt(ctx, id, s); err == nil {
			return what, nil
		}
	}
	return bucket.SettledUnknown, err
}

var errNoOwner = errors.New("no node owns the account now")

func (r *Router) settleAt(ctx context.Context, id string, s *bucket.Settlement) (bucket.Settled, error) {
	if id == r.node {
		return r.ServeSettle(ctx, s)
	}
	ctx, cancel := context.WithTimeout(ctx, settleHop)
	defer cancel()
	what, err := r.peers.Settle(ctx, id, s)
	if err != nil {
		return what, fmt.Errorf("settle at node %s: %w", id, err)
	}
	return what, nil
}

// ServeSettle settles a reservation if this node owns the account. It never
// forwards.
func (r *Router) ServeSettle(_ context.Context, s *bucket.Settlement) (bucket.Settled, error) {
	if !r.members.Ready() {
		return bucket.SettledUnknown, errNotReady
	}
	return r.local.Settle(s)
}
