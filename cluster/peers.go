package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"quorate/cluster/peer"
	"quorate/limiter/bucket"
)

// peers are the other nodes that were ever seen, and how they are.
type peers struct {
	mu      sync.RWMutex
	clients map[string]*remote // guarded by mu; nil when closed
}

// remote is one other node.
type remote struct {
	client  *peer.Client
	pinging atomic.Bool

	mu     sync.Mutex
	member member    // as gossip last knew it; guarded by mu
	health health    // guarded by mu
	heard  time.Time // of the last answer; guarded by mu
}

// health is a node's answer to a ping.
type health struct {
	boot    uint64
	ready   bool
	applied uint64
	epoch   uint64
	wall    int64  // its clock, in milliseconds since 1970
	hashed  uint64 // index of its last command, and the running hash there
	hash    uint64
}

// update takes over what gossip knows. A node that gossip has lost keeps its
// last address and counts as dead.
func (p *peers) update(members map[string]member, n *Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients == nil {
		return
	}
	for id, m := range members {
		if id == n.cfg.NodeID {
			continue
		}
		r := p.clients[id]
		if r == nil {
			r = &remote{}
			r.client = peer.NewClient(func(ctx context.Context) (net.Conn, error) { return dial(ctx, r.addr()) })
			p.clients[id] = r
			n.wake()
		}
		r.mu.Lock()
		r.member = m
		r.mu.Unlock()
	}
	for id, r := range p.clients {
		if _, ok := members[id]; !ok {
			r.mu.Lock()
			r.member.state = "dead"
			r.mu.Unlock()
		}
	}
}

func (r *remote) addr() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.member.Peer
}

func (p *peers) get(id string) *remote {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.clients[id]
}

func (p *peers) all() map[string]*remote {
	p.mu.RLock()
	defer p.mu.RUnlock()
	out := make(map[string]*remote, len(p.clients))
	for id, r := range p.clients {
		out[id] = r
	}
	return out
}

// reachable reports whether the node has answered within the time given.
func (p *peers) reachable(id string, within time.Duration) bool {
	r := p.get(id)
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.heard) < within
}

// state returns what was last heard of a node, and when.
func (r *remote) state() (member, health, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.member, r.health, r.heard
}

func (p *peers) close() {
	p.mu.Lock()
	clients := p.clients
	p.clients = nil
	p.mu.Unlock()
	for _, r := range clients {
		r.client.Close()
	}
}

// The methods of the peer protocol's calls.
const (
	methodPing byte = iota + 1
	methodWrite
	methodReadIndex
	methodSettle
)

// pingAll pings every node that has no ping under way.
func (p *peers) pingAll(n *Node) {
	for _, r := range p.all() {
		if !r.pinging.CompareAndSwap(false, true) {
			continue
		}
		n.wg.Add(1)
		go func() {
			defer n.wg.Done()
			defer r.pinging.Store(false)
			r.ping(n)
		}()
	}
}

func (r *remote) ping(n *Node) {
	sent := time.Now()
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.Timing.Lost/2)
	defer cancel()
	b, err := r.client.Call(ctx, methodPing, nil)
	if err != nil {
		return
	}
	h, err := decodeHealth(b)
	if err != nil {
		n.cfg.Log.Warn("ping answered with what is no health", "err", err)
		return
	}
	r.mu.Lock()
	fresh := h.boot != r.health.boot || h.ready != r.health.ready
	r.health, r.heard = h, sent
	r.mu.Unlock()
	if fresh {
		n.wake()
	}
	n.compare(&h, r)
}

// compare raises the alarm when another node's state, at an index that this
// one remembers, is not this one's.
func (n *Node) compare(h *health, r *remote) {
	ours, ok := n.cfg.FSM.State().HashAt(h.hashed)
	if !ok || ours == h.hash {
		return
	}
	n.Diverged.Add(1)
	m, _, _ := r.state()
	n.cfg.Log.Error("the state differs between nodes", "other", m.ID, "index", h.hashed, "ours", ours, "theirs", h.hash)
}

func (n *Node) health() health {
	h := health{
		boot: n.disk.boot, ready: n.ready.Load(),
		applied: n.cfg.FSM.Index(), epoch: n.cfg.FSM.Map().Epoch, wall: n.cfg.Wall().UnixMilli(),
	}
	h.hashed, h.hash = n.cfg.FSM.State().Hash()
	return h
}

func (h *health) encode() ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	err := bucket.Fields(
		func() error { return e.EncodeArrayLen(7) },
		func() error { return e.EncodeUint(h.boot) },
		func() error { return e.EncodeBool(h.ready) },
		func() error { return e.EncodeUint(h.applied) },
		func() error { return e.EncodeUint(h.epoch) },
		func() error { return e.EncodeInt(h.wall) },
		func() error { return e.EncodeUint(h.hashed) },
		func() error { return e.EncodeUint(h.hash) },
	)
	return buf.Bytes(), err
}

func decodeHealth(b []byte) (h health, err error) {
	d := msgpack.NewDecoder(bytes.NewReader(b))
	if _, err = bucket.ReadLen(d, 7); err != nil {
		return h, err
	}
	err = bucket.Fields(
		func() (err error) { h.boot, err = d.DecodeUint64(); return err },
		func() (err error) { h.ready, err = d.DecodeBool(); return err },
		func() (err error) { h.applied, err = d.DecodeUint64(); return err },
		func() (err error) { h.epoch, err = d.DecodeUint64(); return err },
		func() (err error) { h.wall, err = d.DecodeInt64(); return err },
		func() (err error) { h.hashed, err = d.DecodeUint64(); return err },
		func() (err error) { h.hash, err = d.DecodeUint64(); return err },
	)
	return h, err
}

// handler answers other nodes.
type handler struct{ n *Node }

// Check is peer.Handler.
func (h handler) Check(ctx context.Context, q *bucket.Check, d *bucket.Decision) error {
	checks := h.n.checks.Load()
	if checks == nil {
		return errStarting
	}
	return asPeerError((*checks)(ctx, q, d))
}

// Call is peer.Handler.
func (h handler) Call(ctx context.Context, method byte, arg []byte) ([]byte, error) {
	switch method {
	case methodPing:
		now := h.n.health()
		return now.encode()
	case methodWrite:
		return h.n.serveWrite(ctx, arg)
	case methodSettle:
		return h.n.serveSettle(ctx, arg)
	case methodReadIndex:
		return h.n.serveReadIndex(ctx)
	}
	return nil, fmt.Errorf("unknown method %d", method)
}
