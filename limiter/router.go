package limiter

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"quorate/limiter/bucket"
)

// Owners tells who decides for an account. Calls may overlap.
type Owners interface {
	// Owner returns the owner of the account and after it its successors, each
	// empty where nobody is; n is 0 while there are none at all.
	Owner(account string) (ids [3]string, n int)
	// Reachable is a hint: false when the node is known to be down.
	Reachable(node string) bool
	// Ready reports whether this node may decide: it has applied its log as it
	// stood when it started.
	Ready() bool
}

// Peers asks other nodes. Calls may overlap.
type Peers interface {
	// Check has the node decide from its own buckets. An error means that it
	// gave no decision; the check may have been counted there all the same.
	Check(ctx context.Context, node string, c *bucket.Check, d *bucket.Decision) error
	// Settle has the node settle a reservation of its own.
	Settle(ctx context.Context, node string, s *bucket.Settlement) (bucket.Settled, error)
}

// How long each hop may take. A peer that has to wait for an index gets
// indexWait more.
const (
	ownerTimeout = 150 * time.Millisecond
	indexWait    = 2 * time.Second
)

// Router finds who decides a check.
type Router struct {
	node   string
	local  *Local
	owners Owners
	peers  Peers
	behind error // what an error must wrap to mean that an index was not reached

	Forwarded atomic.Uint64 // checks another node decided
	Degraded  atomic.Uint64 // checks someone other than the owner decided
}

// NewRouter returns a router of the named node. behind is the sentinel for an
// index that could not be waited for.
func NewRouter(node string, local *Local, owners Owners, peers Peers, behind error) *Router {
	return &Router{node: node, local: local, owners: owners, peers: peers, behind: behind}
}

// Check decides, or has decided, one check. A check that no node may decide is
// bucket.Unavailable; an error wraps the behind sentinel.
func (r *Router) Check(ctx context.Context, c *bucket.Check, d *bucket.Decision) error {
	ids, n := r.owners.Owner(c.Account)
	hop := ownerTimeout
	if c.MinIndex > r.local.rules.Index() {
		hop += indexWait
		wait, cancel := context.WithTimeout(ctx, indexWait)
		err := r.local.rules.WaitIndex(wait, c.MinIndex)
		cancel()
		if err != nil {
			return err
		}
	}
	// First those that seem to be up, then, since that was a hint, the others.
	for _, up := range [2]bool{true, false} {
		for i, id := range ids[:n] {
			if id == "" || (id == r.node || r.owners.Reachable(id)) != up {
				continue
			}
			err := r.ask(ctx, id, hop, c, d)
			if err == nil {
				if d.Degraded = i > 0; d.Degraded {
					r.Degraded.Add(1)
				}
				return nil
			}
			if errors.Is(err, r.behind) {
				return err
			}
		}
	}
	*d = bucket.Decision{Reason: bucket.Unavailable, Limits: d.Limits[:0], Hit: -1, DecidedBy: r.node, Index: r.local.rules.Index()}
	return nil
}

var errNotReady = errors.New("this node has not caught up with its log")

func (r *Router) ask(ctx context.Context, id string, hop time.Duration, c *bucket.Check, d *bucket.Decision) error {
	if id == r.node {
		if !r.owners.Ready() {
			return errNotReady
		}
		return r.local.Take(ctx, c, d)
	}
	ctx, cancel := context.WithTimeout(ctx, hop)
	defer cancel()
	if err := r.peers.Check(ctx, id, c, d); err != nil {
		return fmt.Errorf("ask node %s: %w", id, err)
	}
	r.Forwarded.Add(1)
	return nil
}

// Settle settles a reservation where it was given: at the owner of the account,
// or at one of its successors who decided meanwhile. Its error means that
// nobody who could know it was reached.
func (r *Router) Settle(ctx context.Context, s *bucket.Settlement) (bucket.Settled, error) {
	ids, n := r.owners.Owner(s.Account)
	err := errNobody
	for i, id := range ids[:n] {
		if id == "" {
			continue
		}
		what, failed := r.settleAt(ctx, id, s)
		if failed == nil && what != bucket.SettledUnknown {
			return what, nil
		}
		if i == 0 {
			err = failed // the owner's word counts
		}
	}
	return bucket.SettledUnknown, err
}

var errNobody = errors.New("nobody owns the account now")

func (r *Router) settleAt(ctx context.Context, id string, s *bucket.Settlement) (bucket.Settled, error) {
	if id == r.node {
		return r.ServeSettle(ctx, s)
	}
	ctx, cancel := context.WithTimeout(ctx, ownerTimeout)
	defer cancel()
	what, err := r.peers.Settle(ctx, id, s)
	if err != nil {
		return what, fmt.Errorf("settle at node %s: %w", id, err)
	}
	return what, nil
}

// ServeSettle settles a reservation that this node gave. It never forwards.
func (r *Router) ServeSettle(_ context.Context, s *bucket.Settlement) (bucket.Settled, error) {
	if !r.owners.Ready() {
		return bucket.SettledUnknown, errNotReady
	}
	return r.local.Settle(s), nil
}

// Serve answers a check that another node forwarded. It never forwards.
func (r *Router) Serve(ctx context.Context, c *bucket.Check, d *bucket.Decision) error {
	if !r.owners.Ready() {
		return errNotReady
	}
	return r.local.Take(ctx, c, d)
}
