package limiter

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"quorate/limiter/bucket"
)

// Others tells of this node and the others. Calls may overlap.
type Others interface {
	Reach
	// Ready reports whether this node may decide: it has applied its log as it
	// stood when it started.
	Ready() bool
}

// Peers asks other nodes. Calls may overlap.
type Peers interface {
	// Check has the node decide. An error means that it gave no decision; the
	// check may have been counted there all the same. After a refusal by a newer
	// map this node has adopted that.
	Check(ctx context.Context, node string, route bucket.Route, c *bucket.Check, d *bucket.Decision) error
	// Settle has the node settle a reservation of its own.
	Settle(ctx context.Context, node string, s *bucket.Settlement) (bucket.Settled, error)
}

// A hop that has to wait for an index gets indexWait more. A hop that took late
// longer than it may was not the other node's: this one stood still.
const (
	indexWait = 2 * time.Second
	late      = 100 * time.Millisecond
)

// Router finds who decides a check.
type Router struct {
	node   string
	local  *Local
	others Others
	peers  Peers
	behind error // what an error must wrap to mean that an index was not reached

	Forwarded atomic.Uint64 // checks another node decided
	Degraded  atomic.Uint64 // checks someone other than the owner decided
}

// NewRouter returns a router of the named node. behind is the sentinel for an
// index that could not be waited for.
func NewRouter(node string, local *Local, others Others, peers Peers, behind error) *Router {
	return &Router{node: node, local: local, others: others, peers: peers, behind: behind}
}

// maxAnew is how often a newer map begins a check anew. A move makes two maps.
const maxAnew = 3

// maxSteps is the most that EntrySteps and FallbackSteps return.
const maxSteps = 6

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
	t := walk{r: r, c: c, d: d, entry: true}
	err := t.follow(ctx)
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

// Serve decides a check that another node asks for. With once it answers
// ErrWouldWait where it cannot at once.
func (r *Router) Serve(ctx context.Context, route bucket.Route, c *bucket.Check, d *bucket.Decision, once bool) error {
	older := route.Epoch > r.local.Epoch()
	switch {
	case once && (older || route.Role != AsOwner):
		return ErrWouldWait
	case older:
		r.local.awaitEpoch(ctx, route.Epoch) // or this node would refuse by an older map
	}
	switch route.Role {
	case AsOwner:
		return r.own(ctx, c, d, once)
	case AsFallback:
		t := walk{r: r, c: c, d: d}
		return t.follow(ctx)
	}
	return r.relay(ctx, c, d)
}

// relay asks the owner for a node that cannot reach it, and where the partition
// moves the node that takes it over too.
func (r *Router) relay(ctx context.Context, c *bucket.Check, d *bucket.Decision) error {
	part := r.local.Part(r.local.cfg.Partition(c.Account))
	err := ErrNotOwner
	for i, id := range part.Holders[:2] {
		if id != "" && id != r.node && (i == 0 || part.Moving) {
			if err = r.take(ctx, Step{id, AsOwner, relayedHop}, c, d); err == nil {
				return nil
			}
		}
	}
	return err
}

// walk is one check on its way from step to step.
type walk struct {
	r     *Router
	c     *bucket.Check
	d     *bucket.Decision
	entry bool // a client's; else another node's, who asks for a judge
	anew  int  // how often a newer map has begun it anew
	again bool // a step was repeated
}

func (t *walk) follow(ctx context.Context) (err error) {
	var room [maxSteps]Step
	steps, epoch := t.plan(room[:0])
	for at := 0; at < len(steps); at++ {
		began := t.r.local.now()
		err = t.r.take(ctx, steps[at], t.c, t.d)
		if err == nil || errors.Is(err, t.r.behind) {
			return err
		}
		waited := t.r.local.now() - began
		switch {
		// A refusal carries the map: who asked by an older one asks by that.
		case t.entry && t.anew < maxAnew && t.r.local.Epoch() > epoch:
			t.anew++
			steps, epoch = t.plan(room[:0])
			at = -1
		case steps[at].Node != "" && waited > steps[at].Hop+late && !t.again:
			t.again = true // this node stood still, and has not waited
			at--
		}
	}
	return err
}

// plan returns the steps by the map in force.
func (t *walk) plan(room []Step) (steps []Step, epoch uint64) {
	epoch = t.r.local.Epoch()
	part := t.r.local.Part(t.r.local.cfg.Partition(t.c.Account))
	if t.entry {
		return EntrySteps(t.r.node, &part, t.r.others, room), epoch
	}
	return FallbackSteps(t.r.node, &part, t.r.others, room), epoch
}

var (
	errNotReady = errors.New("this node has not caught up with its log")
	errMayNot   = errors.New("this node may not decide in the owner's place")
)

// own has this node decide as the owner. One that has not caught up with its log
// knows less of accounts than it did: it would refuse who has paid.
func (r *Router) own(ctx context.Context, c *bucket.Check, d *bucket.Decision, once bool) error {
	if !r.others.Ready() {
		return errNotReady
	}
	return r.local.Own(ctx, c, d, once)
}

// take makes one step. An error means that it gave no decision.
func (r *Router) take(ctx context.Context, s Step, c *bucket.Check, d *bucket.Decision) error {
	switch {
	case s.Node != "":
		return r.ask(ctx, s, c, d)
	case s.Role == AsOwner:
		return r.own(ctx, c, d, false)
	case !r.others.Ready():
		return errNotReady
	}
	err := r.local.StandIn(ctx, c, d)
	if err == nil && d.Reason == bucket.Unavailable {
		return errMayNot
	}
	return err
}

func (r *Router) ask(ctx context.Context, s Step, c *bucket.Check, d *bucket.Decision) error {
	hop := s.Hop
	if c.MinIndex > 0 {
		hop += indexWait
	}
	ctx, cancel := context.WithTimeout(ctx, hop)
	defer cancel()
	if err := r.peers.Check(ctx, s.Node, bucket.Route{Role: s.Role, Epoch: r.local.Epoch()}, c, d); err != nil {
		return fmt.Errorf("ask node %s: %w", s.Node, err)
	}
	r.Forwarded.Add(1)
	return nil
}

// Settle settles a reservation at the owner of its account. A partition that
// moves is waited for, for a while. Its error means that nobody who could know the
// reservation was reached.
func (r *Router) Settle(ctx context.Context, s *bucket.Settlement) (bucket.Settled, error) {
	began := r.local.now()
	for {
		turned := r.local.Turned()
		what, err := r.settle(ctx, s)
		if err == nil || r.local.now()-began >= comeFor {
			return what, err
		}
		if err := await(ctx, turned, settleEvery); err != nil {
			return what, err
		}
	}
}

// settle asks who holds the account, in order, until one decides on it.
func (r *Router) settle(ctx context.Context, s *bucket.Settlement) (what bucket.Settled, err error) {
	err = errNobody
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

var errNobody = errors.New("nobody owns the account now")

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
	if !r.others.Ready() {
		return bucket.SettledUnknown, errNotReady
	}
	return r.local.Settle(s)
}
