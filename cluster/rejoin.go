package cluster

import (
	"net"
	"slices"
	"strconv"
	"sync"
)

// missesReachable reports whether gossip considers a node dead that answers pings.
// Gossip would not notice for long by itself.
func (n *Node) missesReachable() bool {
	for id, r := range n.peers.all() {
		if r.asMember().state == "dead" && n.Reachable(id) {
			return true
		}
	}
	return false
}

// rejoin joins gossip again at the seeds and at every node seen in this boot that
// gossip does not know: gossip forgets a node that was unreachable for long. It asks
// all at once, so that none waits for a node that is gone.
func (n *Node) rejoin() {
	known := map[string]bool{}
	for _, m := range n.gossip.seen.all() {
		known[m.address] = true
	}
	var wg sync.WaitGroup
	for _, seed := range n.rejoinAddrs() {
		wg.Go(func() {
			host, port, err := resolveAddr(seed)
			if err != nil {
				n.cfg.Log.Debug("join address does not resolve", "addr", seed, "err", err)
				return
			}
			addr := net.JoinHostPort(host, strconv.Itoa(port))
			if known[addr] {
				return
			}
			if _, err := n.gossip.list.Join([]string{addr}); err != nil {
				n.cfg.Log.Debug("join", "addr", addr, "err", err)
			}
		})
	}
	wg.Wait()
	n.gossip.seedsTried.Store(true)
}

// rejoinAddrs returns the seeds and the gossip addresses of nodes that gossip has
// lost.
func (n *Node) rejoinAddrs() []string {
	addrs := slices.Clone(n.cfg.Join)
	for _, r := range n.peers.all() {
		if m := r.asMember(); m.gossip != "" && m.state != "alive" && !slices.Contains(addrs, m.gossip) {
			addrs = append(addrs, m.gossip)
		}
	}
	return addrs
}
