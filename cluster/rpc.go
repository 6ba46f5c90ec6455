package cluster

import (
	"bytes"
	"context"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"

	"quorate/limiter/bucket"
)

// Settle has another node settle a reservation of its own.
func (n *Node) Settle(ctx context.Context, id string, s *bucket.Settlement) (bucket.Settled, error) {
	r, err := n.remote(id)
	if err != nil {
		return bucket.SettledUnknown, err
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

func (n *Node) serveSettle(ctx context.Context, arg []byte) ([]byte, error) {
	l := n.owners.limiter.Load()
	if l == nil {
		return nil, errStarting
	}
	var s bucket.Settlement
	if err := s.DecodeMsgpack(msgpack.NewDecoder(bytes.NewReader(arg))); err != nil {
		return nil, err
	}
	what, err := (*l).Settle(ctx, &s)
	return []byte{byte(what)}, err
}
