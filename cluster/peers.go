package cluster

import (
	"context"
	"net"
	"sync"
	"time"

	"quorate/cluster/ownership"
	"quorate/cluster/peer"
)

// peers are the other nodes that this boot has seen, and the clients for them.
type peers struct {
	mu      sync.RWMutex
	clients map[string]*remote // guarded by mu; nil when closed
}

// remote is another node.
type remote struct {
	client *peer.Client

	mu     sync.Mutex
	member member // the last that gossip knew; guarded by mu
}

// update sets the nodes that gossip knows. A node that gossip has lost keeps its last
// address and counts as dead.
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
			r.client = peer.NewClient(func(ctx context.Context) (net.Conn, error) { return n.mux.DialPeer(ctx, r.addr()) })
			p.clients[id] = r
			n.wake()
		}
		r.mu.Lock()
		r.member = m
		r.mu.Unlock()
	}
	for id, r := range p.clients {
		if _, ok := members[id]; ok {
			continue
		}
		if n.gone(id) {
			delete(p.clients, id) // a removed node does not return
			n.wg.Add(1)
			go func() { defer n.wg.Done(); r.client.Close() }()
			continue
		}
		r.mu.Lock()
		r.member.state = "dead"
		r.mu.Unlock()
	}
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

func (p *peers) close() {
	p.mu.Lock()
	clients := p.clients
	p.clients = nil
	p.mu.Unlock()
	for _, r := range clients {
		r.client.Close()
	}
}

func (r *remote) addr() string { return r.asMember().Peer }

// asMember returns the last that gossip knew of the node.
func (r *remote) asMember() member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.member
}

// beatAll is a beat: it gives up connections without answers, and pings the other nodes.
func (n *Node) beatAll() {
	all := n.peers.all()
	for _, r := range all {
		r.client.Beat(n.owners.timing.LostBeats())
	}
	n.beat(sortedIDs(all))
}

// sendPings sends the messages in the outbox. Only ownershipLoop calls it: the loop is
// counted in n.wg, so that n.wg cannot rise from zero while Close waits for it.
func (n *Node) sendPings() {
	n.owners.mu.Lock()
	out := n.owners.outbox
	n.owners.outbox = nil
	n.owners.mu.Unlock()
	for _, m := range out {
		r := n.peers.get(m.To)
		if r == nil {
			n.lost(m.To, m.Ping)
			continue
		}
		n.wg.Add(1)
		go func() { defer n.wg.Done(); n.ping(r, m.To, m.Ping) }()
	}
}

// ping pings a node until the node has applied the map that this node has adopted.
func (n *Node) ping(r *remote, id string, q ownership.Ping) {
	for again := true; again; {
		p, err := n.askPing(r, &q)
		if err != nil {
			n.lost(id, q)
			return
		}
		n.compare(&p, id)
		o := n.pong(id, q, &p)
		if o.Changed {
			n.wake()
		}
		if o.Removed {
			n.noteRemoved(id)
		}
		if o.Fetch {
			ctx, cancel := context.WithTimeout(n.ctx, n.cfg.Timing.LostAfter)
			n.fetchMap(ctx, r, p.Epoch)
			cancel()
		}
		if !o.Retry {
			return
		}
		select {
		case <-time.After(n.owners.timing.Retry):
		case <-n.ctx.Done():
			return
		}
		q, again = n.retry(id, q)
	}
}

func (n *Node) askPing(r *remote, q *ownership.Ping) (p ownership.Pong, err error) {
	ctx, cancel := context.WithTimeout(n.ctx, n.owners.timing.PingTimeout)
	defer cancel()
	arg, err := q.Encode()
	if err != nil {
		return p, err
	}
	b, err := r.client.Call(ctx, methodPing, arg)
	if err != nil {
		return p, err
	}
	if p, err = ownership.DecodePong(b); err != nil {
		n.cfg.Log.Warn("decode the answer to a ping", "err", err)
	}
	return p, err
}

// compare logs and counts an answer that shows that another node's state differs from this
// node's, at an index whose hash this node remembers.
func (n *Node) compare(p *ownership.Pong, id string) {
	ours, ok := n.cfg.FSM.State().HashAt(p.HashIndex)
	if !ok || ours == p.Hash {
		return
	}
	n.Diverged.Add(1)
	n.cfg.Log.Error("the state differs between nodes", "other", id, "index", p.HashIndex, "ours", ours, "theirs", p.Hash)
}
