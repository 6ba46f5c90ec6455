package node

import (
	"context"
	"errors"

	"quorate/cluster/peer"
	"quorate/fsm/ledger"
	"quorate/limiter"
	"quorate/limiter/bucket"
	"quorate/limiter/exchange"
)

// port is the limiter as the cluster knows it.
type port struct {
	id       string
	local    *limiter.Local
	router   *limiter.Router
	exchange *exchange.Exchange
}

// Check is cluster.Limiter.
func (p port) Check(ctx context.Context, ask bucket.Ask, c *bucket.Check, d *bucket.Decision, once bool) error {
	err := p.router.Serve(ctx, ask, c, d, once)
	switch {
	case errors.Is(err, limiter.ErrWouldWait):
		return peer.ErrWouldWait
	case errors.Is(err, limiter.ErrNotOwner):
		return peer.ErrNotOwner
	}
	return err
}

// Settle is cluster.Limiter.
func (p port) Settle(ctx context.Context, s *bucket.Settlement) (bucket.Settled, error) {
	return p.router.ServeSettle(ctx, s)
}

// Exchange is cluster.Limiter.
func (p port) Exchange(message []byte) ([]byte, error) { return p.exchange.Serve(message) }

// Holding is cluster.Limiter.
func (p port) Holding() []byte { return p.local.ImportedSet() }

// Incomplete is cluster.Limiter.
func (p port) Incomplete() int { return p.local.Incomplete() }

// Adopt is cluster.Limiter.
func (p port) Adopt(m *ledger.Map, boot uint64) {
	p.local.Adopt(view(m, ledger.Member{ID: p.id, Boot: boot}))
	p.exchange.Wake()
}

// view is a map as this life of this node sees it: an earlier life of its own
// holds nothing.
func view(m *ledger.Map, self ledger.Member) *limiter.View {
	v := &limiter.View{Epoch: m.Epoch, Nodes: int64(len(m.Members)), Parts: make([]limiter.Part, len(m.Places)), Boots: map[string]uint64{}}
	for _, k := range m.Members {
		v.Boots[k.ID] = k.Boot
	}
	for p, place := range m.Places {
		part := &v.Parts[p]
		part.Moving = p < len(m.Moving) && m.Moving[p]
		for role, at := range place {
			if int(at) >= len(m.Members) {
				continue
			}
			if k := m.Members[at]; k.ID != self.ID || k == self {
				part.Holders[role] = k.ID
			}
		}
	}
	return v
}
