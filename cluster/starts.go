package cluster

import (
	"context"
	"sync"

	"quorate/cluster/ownership"
)

// serveStart answers whether a node may start.
func (n *Node) serveStart(ctx context.Context, arg []byte) ([]byte, error) {
	q, err := ownership.DecodeStart(arg)
	if err != nil {
		return nil, err
	}
	if q.ID == n.cfg.NodeID { // the address has become this node's, or the question is a copy's
		if q.Incarnation == n.startup.gate.self.Incarnation {
			return nil, errStarting
		}
		f := ownership.Permit(&q, ownership.Reported{}, ownership.Start{}, []ownership.Start{n.startup.gate.self})
		return f.Encode()
	}
	alive := n.processes(ctx, q.ID)
	o := n.lock()
	f := o.node.Start(&q, alive)
	o.mu.Unlock()
	if f.Reason != ownership.NoReason {
		n.cfg.Log.Error("a node may not start", "id", q.ID, "boot", q.Boot, "because", f.Explain(&q))
	}
	return f.Encode()
}

// processes asks at every address that gossip or the configuration has for a node which
// process is there. A process that has ended does not answer: the question is sent after
// the new process has asked. At an address that has passed to another node, that node
// answers.
func (n *Node) processes(ctx context.Context, id string) (out []ownership.Start) {
	addrs := map[string]bool{}
	for _, s := range n.gossip.seen.all() {
		if m, err := decodeMeta(s.meta); err == nil && m.ID == id && m.Cluster == n.identity.ClusterID() {
			addrs[m.Peer] = true
		}
	}
	if r := n.peers.get(id); r != nil {
		addrs[r.addr()] = true
	}
	if servers, err := n.servers(); err == nil {
		if s := find(servers, id); s != nil {
			addrs[string(s.Address)] = true
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askFor/2)
	defer cancel()
	found := make(chan ownership.Start, len(addrs))
	var wg sync.WaitGroup
	for addr := range addrs {
		wg.Go(func() {
			client := n.clientOf(addr)
			defer client.Close()
			b, err := client.Call(ctx, methodProcess, nil)
			if err != nil {
				return // nothing answers there
			}
			if s, err := ownership.DecodeStart(b); err == nil {
				found <- s
			}
		})
	}
	wg.Wait()
	close(found)
	for s := range found {
		out = append(out, s)
	}
	return out
}
