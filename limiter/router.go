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
// partition that moves: it drives a SettleWalk. Its error means that no node that could
// know the reservation was reached.
func (r *Router) Settle(ctx context.Context, s *bucket.Settlement) (what bucket.Settled, err error) {
	var w SettleWalk
	what, err = bucket.SettledUnknown, errNoOwner
	out, partition := Pending, r.local.cfg.Partition(s.Account)
	changed := r.local.RoleChanged() // from before each round, so that no change is missed
	for {
		part, _ := r.local.Placement(partition)
		switch step := w.Next(r.local.now(), r.node, part, out); step.Do {
		case AskNode:
			what, err = r.askSettle(ctx, &step, s)
		case SettleHere:
			what, err = r.ServeSettle(ctx, s)
		case AwaitPartition:
			if err := await(ctx, changed, step.For); err != nil {
				return what, err
			}
			changed, out = r.local.RoleChanged(), Pending
			continue
		default:
			return what, step.Err(err)
		}
		out = OutcomeOf(err, nil)
	}
}

var errNoOwner = errors.New("no node owns the account now")

// askSettle makes the step of asking another node to settle.
func (r *Router) askSettle(ctx context.Context, step *Step, s *bucket.Settlement) (bucket.Settled, error) {
	ctx, cancel := context.WithTimeout(ctx, step.For)
	defer cancel()
	what, err := r.peers.Settle(ctx, step.Node, s)
	if err != nil {
		return what, fmt.Errorf("settle at node %s: %w", step.Node, err)
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
