package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"quorate/cluster/peer"
	"quorate/limiter/bucket"
)

// Settles settles reservations that this node gave; the limiter's half of a
// settlement that came to another node.
type Settles func(ctx context.Context, s *bucket.Settlement) (bucket.Settled, error)

// SetSettles names who settles. Before it is called settlements are refused.
func (n *Node) SetSettles(s Settles) { n.settles.Store(&s) }

// Settle has another node settle a reservation of its own.
func (n *Node) Settle(ctx context.Context, id string, s *bucket.Settlement) (bucket.Settled, error) {
	r := n.peers.get(id)
	if r == nil {
		return bucket.SettledUnknown, fmt.Errorf("node %s: %w: not known", id, peer.ErrNotSent)
	}
	var buf bytes.Buffer
	if err := s.EncodeMsgpack(msgpack.NewEncoder(&buf)); err != nil {
		return bucket.SettledUnknown, err
	}
	b, err := r.client.Call(ctx, methodSettle, buf.Bytes())
	if err != nil {
		return bucket.SettledUnknown, err
	}
	if len(b) != 1 || bucket.Settled(b[0]) > bucket.SettledUnknown {
		return bucket.SettledUnknown, fmt.Errorf("node %s: not an outcome of a settlement", id)
	}
	return bucket.Settled(b[0]), nil
}

var errNoSettles = errors.New("this node does not settle yet")

func (n *Node) serveSettle(ctx context.Context, arg []byte) ([]byte, error) {
	settles := n.settles.Load()
	if settles == nil {
		return nil, errNoSettles
	}
	var s bucket.Settlement
	if err := s.DecodeMsgpack(msgpack.NewDecoder(bytes.NewReader(arg))); err != nil {
		return nil, err
	}
	what, err := (*settles)(ctx, &s)
	return []byte{byte(what)}, err
}
