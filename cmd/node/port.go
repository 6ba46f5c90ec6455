package node

import (
	"context"
	"errors"

	"quorate/cluster/ownership"
	"quorate/cluster/peer"
	"quorate/limiter"
	"quorate/limiter/bucket"
	"quorate/limiter/exchange"
)

// port implements cluster.Limiter with the limiter.
type port struct {
	local    *limiter.Local
	router   *limiter.Router
	exchange *exchange.Exchange
}

// Check implements cluster.Limiter.
func (p port) Check(ctx context.Context, route bucket.Route, c *bucket.Check, d *bucket.Decision, noWait bool) error {
	err := p.router.Serve(ctx, route, c, d, noWait)
	switch {
	case errors.Is(err, limiter.ErrWouldWait):
		return peer.ErrWouldWait
	case errors.Is(err, limiter.ErrNotOwner):
		return peer.ErrNotOwner
	}
	return err
}

// Settle implements cluster.Limiter.
func (p port) Settle(ctx context.Context, s *bucket.Settlement) (bucket.Settled, error) {
	return p.router.ServeSettle(ctx, s)
}

// Exchange implements cluster.Limiter.
func (p port) Exchange(message []byte) ([]byte, error) { return p.exchange.Serve(message) }

// Imported implements cluster.Limiter.
func (p port) Imported() []byte { return p.local.ImportedSet() }

// Incomplete implements cluster.Limiter.
func (p port) Incomplete() int { return p.local.Incomplete() }

// Adopt implements cluster.Limiter. The two views are alike: limiter and cluster do not
// know each other.
func (p port) Adopt(v *ownership.View) {
	to := &limiter.View{Epoch: v.Epoch, Nodes: v.Nodes, Parts: make([]limiter.Part, len(v.Parts)), Boots: v.Boots}
	for i, part := range v.Parts {
		to.Parts[i] = limiter.Part(part)
	}
	p.local.Adopt(to)
	p.exchange.Wake()
}
