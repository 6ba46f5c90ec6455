package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"quorate/cluster/peer"
	"quorate/fsm/ledger"
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
	pinging atomic.Int32 // pings under way
	missed  atomic.Int32 // beats since it answered: a standstill of our own adds none

	mu     sync.Mutex
	member member    // as gossip last knew it; guarded by mu
	health health    // guarded by mu
	heard  time.Time // when the last ping that was answered was sent; guarded by mu
}

const (
	// maxPings bounds the pings of one node that are under way: a slow link must
	// not look like a cut one.
	maxPings = 8
	// unreachable is from how many missed beats a node is not asked any more.
	unreachable = 4
	// cutOff is from how many missed beats a grantor counts as cut off: loss and
	// delay must not look like it, or many nodes would admit shares beside an owner.
	// It is a lease's length, until when nobody else can own anything.
	cutOff = 20
	// soon is after how long a grantor that has not applied the map yet is asked
	// again.
	soon = 10 * time.Millisecond
	// maxAgain is how often; the next beat asks anyway.
	maxAgain = 10
)

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
			r.client = peer.NewClient(func(ctx context.Context) (net.Conn, error) { return n.mux.dial(ctx, r.addr(), peer.MagicPeer) })
			p.clients[id] = r
			n.wake()
		}
		r.mu.Lock()
		r.member = m
		r.mu.Unlock()
	}
	for id, r := range p.clients {
		if _, ok := members[id]; !ok && n.gone(id) {
			delete(p.clients, id) // for good
			n.wg.Add(1)
			go func() { defer n.wg.Done(); r.client.Close() }()
			continue
		}
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
	methodMap
	methodExchange
	methodRemove
	methodFound
	methodAdmit
	methodTransfer
	methodTerm
)

// remote returns a node that was ever seen.
func (n *Node) remote(id string) (*remote, error) {
	r := n.peers.get(id)
	if r == nil {
		return nil, fmt.Errorf("node %s: %w: not known", id, peer.ErrNotSent)
	}
	return r, nil
}

// pingAll pings every node. A beat counts as missed until it is answered.
func (p *peers) pingAll(n *Node, beat bool) {
	for _, r := range p.all() {
		if beat {
			r.missed.Add(1)
			r.client.Beat(n.cfg.Timing.lostBeats())
		}
		if r.pinging.Add(1) > maxPings {
			r.pinging.Add(-1)
			continue
		}
		n.wg.Add(1)
		go func() {
			defer n.wg.Done()
			defer r.pinging.Add(-1)
			for range maxAgain {
				if !r.ping(n) {
					return
				}
				select {
				case <-time.After(soon):
				case <-n.ctx.Done():
					return
				}
			}
		}()
	}
}

// ping asks a node how it is, and for a lease. again is true when it has not
// applied yet what the lease is about.
func (r *remote) ping(n *Node) (again bool) {
	q, sent := n.request(), time.Now()
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.Timing.Lost)
	defer cancel()
	arg, err := encodePing(q)
	if err != nil {
		return false
	}
	b, err := r.client.Call(ctx, methodPing, arg)
	if err != nil {
		return false
	}
	h, err := decodeHealth(b)
	if err != nil {
		n.cfg.Log.Warn("ping answered with what is no health", "err", err)
		return false
	}
	r.missed.Store(0)
	r.mu.Lock()
	fresh := h.boot != r.health.boot || h.ready != r.health.ready || h.leaving != r.health.leaving ||
		h.epoch != r.health.epoch || !bytes.Equal(h.holding, r.health.holding)
	if !sent.Before(r.heard) {
		r.health, r.heard = h, sent
	}
	id := r.member.ID
	r.mu.Unlock()
	if fresh {
		n.wake()
	}
	n.compare(&h, r)
	if h.granted {
		n.granted(id, q)
	}
	if h.removed {
		n.expel(id)
	}
	if h.since > q.Epoch {
		n.learn(ctx, r, h.since)
	}
	return h.epoch < q.Epoch
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
		boot: n.boot, ready: n.ready.Load(), leaving: n.owners.leaving.Load(),
		applied: n.cfg.FSM.Index(), epoch: n.cfg.FSM.Map().Epoch, wall: n.cfg.Wall().UnixMilli(),
		term:    n.term(),
		knows:   ledger.NewestVersion(),
		reaches: n.reached(), leases: n.owners.leases.Load(), lacking: n.owners.lacking.Load(),
	}
	h.since, h.holding = n.holding()
	h.hashed, h.hash = n.cfg.FSM.State().Hash()
	return h
}

// reached returns the nodes that have answered within two beats.
func (n *Node) reached() (ids []string) {
	for id, r := range n.peers.all() {
		if _, _, heard := r.state(); time.Since(heard) < 2*n.cfg.Timing.Ping && len(ids) < maxNodes {
			ids = append(ids, id)
		}
	}
	return ids
}

// Reachable is a hint: false for a node that has not answered for some beats.
func (n *Node) Reachable(id string) bool {
	r := n.peers.get(id)
	return r != nil && r.missed.Load() < unreachable
}

// Relay returns a node that has reached the other lately, empty without any.
func (n *Node) Relay(to string) string {
	for id, r := range n.peers.all() {
		if id != to && n.Reachable(id) {
			if _, h, _ := r.state(); slices.Contains(h.reaches, to) {
				return id
			}
		}
	}
	return ""
}

// handler answers other nodes.
type handler struct{ n *Node }

// Check is peer.Handler.
func (h handler) Check(ctx context.Context, ask bucket.Ask, q *bucket.Check, d *bucket.Decision, once bool) error {
	l := h.n.owners.limiter.Load()
	if l == nil {
		return errStarting
	}
	h.n.hear(ask.Epoch)
	err := (*l).Check(ctx, ask, q, d, once)
	if errors.Is(err, peer.ErrNotOwner) {
		return &peer.NotOwnerError{Epoch: h.n.epoch()}
	}
	return asPeerError(err)
}

// Call is peer.Handler.
func (h handler) Call(ctx context.Context, method byte, arg []byte) ([]byte, error) {
	if !h.n.open.Load() {
		if method == methodWrite {
			return []byte{replyNotSent}, nil // who takes this node for the leader may try another
		}
		return nil, errStarting
	}
	switch method {
	case methodPing:
		q, err := decodePing(arg)
		if err != nil {
			return nil, err
		}
		now := h.n.health()
		now.granted, now.removed = h.n.grants(q), h.n.gone(q.ID)
		return now.encode()
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
	case methodFound:
		return nil, h.n.serveFound(arg)
	case methodAdmit:
		return h.n.serveAdmit(ctx, string(arg[:min(len(arg), ledger.MaxNodeID)]))
	case methodRemove:
		return h.n.serveRemove(ctx, arg)
	case methodExchange:
		return h.n.serveExchange(arg)
	}
	return nil, fmt.Errorf("unknown method %d", method)
}
