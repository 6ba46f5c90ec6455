package cluster

import (
	"context"
	"errors"
	"fmt"

	"quorate/cluster/ownership"
	"quorate/cluster/peer"
	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
	"quorate/limiter/codec"
)

// The methods of the peer protocol's calls.
const (
	methodPing byte = iota + 1
	methodWrite
	methodReadIndex
	methodSettle
	methodMap
	methodExchange
	methodRemove
	methodBootstrap
	methodJoin
	methodTransfer
	methodTerm
	methodStart   // may a boot take part?
	methodProcess // which process is this?
)

// unknownMethod is in the error of a call that this program does not have.
const unknownMethod = "unknown method"

// remote returns a node that this boot has seen.
func (n *Node) remote(id string) (*remote, error) {
	r := n.peers.get(id)
	if r == nil {
		return nil, fmt.Errorf("node %s: %w: not known", id, peer.ErrNotSent)
	}
	return r, nil
}

// handler answers the requests of other nodes.
type handler struct{ n *Node }

// Check implements peer.Handler.
func (h handler) Check(ctx context.Context, route bucket.Route, q *bucket.Check, d *bucket.Decision, noWait bool) error {
	l := h.n.owners.limiter.Load()
	if l == nil {
		return errStarting
	}
	h.n.noteEpoch(route.Epoch)
	err := (*l).Check(ctx, route, q, d, noWait)
	if errors.Is(err, peer.ErrNotOwner) {
		return &peer.NotOwnerError{Epoch: h.n.epoch()}
	}
	return asPeerError(err)
}

// Call implements peer.Handler.
func (h handler) Call(ctx context.Context, method byte, arg []byte) ([]byte, error) {
	if !h.n.startup.serving.Load() {
		if method == methodWrite {
			return []byte{replyNotSent}, nil // the sender takes this node for the leader and may try another node
		}
		return nil, errStarting
	}
	switch method {
	case methodPing:
		return h.n.servePing(arg)
	case methodWrite:
		return h.n.serveWrite(ctx, arg)
	case methodSettle:
		return h.n.serveSettle(ctx, arg)
	case methodTransfer:
		return h.n.serveTransfer(ctx, arg)
	case methodReadIndex:
		return h.n.serveReadIndex(ctx)
	case methodMap:
		return h.n.serveMap()
	case methodTerm:
		return h.n.serveTerm(), nil
	case methodBootstrap:
		return nil, h.n.serveBootstrap(arg)
	case methodStart:
		return h.n.serveStart(ctx, arg)
	case methodProcess:
		return h.n.startup.gate.self.Encode()
	case methodJoin:
		return h.n.serveJoin(ctx, string(arg[:min(len(arg), ledger.MaxNodeID)]))
	case methodRemove:
		return h.n.serveRemove(ctx, arg)
	case methodExchange:
		return h.n.serveExchange(arg)
	}
	return nil, fmt.Errorf("%s %d", unknownMethod, method)
}

func (n *Node) servePing(arg []byte) ([]byte, error) {
	q, err := ownership.DecodePing(arg)
	if err != nil {
		return nil, err
	}
	p := n.self(&q)
	p.Removed = n.gone(q.From.ID)
	return p.Encode()
}

// Check asks another node to decide a check.
func (n *Node) Check(ctx context.Context, id string, route bucket.Route, c *bucket.Check, d *bucket.Decision) error {
	r, err := n.remote(id)
	if err != nil {
		return err
	}
	err = r.client.Check(ctx, route, c, d)
	var not *peer.NotOwnerError
	switch {
	case errors.Is(err, peer.ErrBehind):
		return errors.Join(ledger.ErrBehind, err)
	case errors.As(err, &not) && not.Epoch > n.epoch():
		n.fetchMap(ctx, r, not.Epoch)
	}
	return err
}

// Settle asks another node to settle a reservation that the node keeps.
func (n *Node) Settle(ctx context.Context, id string, s *bucket.Settlement) (bucket.Settled, error) {
	r, err := n.remote(id)
	if err != nil {
		return bucket.SettledUnknown, err
	}
	arg, err := codec.Append(nil, s)
	if err != nil {
		return bucket.SettledUnknown, err
	}
	b, err := r.client.Call(ctx, methodSettle, arg)
	if err != nil {
		return bucket.SettledUnknown, err
	}
	if len(b) != 1 || bucket.Settled(b[0]) > bucket.SettledUnknown {
		return bucket.SettledUnknown, fmt.Errorf("node %s: the answer is not an outcome of a settlement", id)
	}
	return bucket.Settled(b[0]), nil
}

func (n *Node) serveSettle(ctx context.Context, arg []byte) ([]byte, error) {
	l := n.owners.limiter.Load()
	if l == nil {
		return nil, errStarting
	}
	var s bucket.Settlement
	if err := codec.Unmarshal(arg, &s); err != nil {
		return nil, err
	}
	what, err := (*l).Settle(ctx, &s)
	return []byte{byte(what)}, err
}

// Exchange sends a message to the limiter of another node and returns the answer.
func (n *Node) Exchange(ctx context.Context, id string, message []byte) ([]byte, error) {
	r, err := n.remote(id)
	if err != nil {
		return nil, err
	}
	return r.client.Call(ctx, methodExchange, message)
}

func (n *Node) serveExchange(message []byte) ([]byte, error) {
	l := n.owners.limiter.Load()
	if l == nil || !n.startup.replayed.Load() {
		return nil, errStarting
	}
	return (*l).Exchange(message)
}
