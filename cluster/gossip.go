package cluster

import (
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"quorate/cluster/filter"
	"quorate/cluster/logs"
)

// gossip is this node's part in memberlist. Node.Open binds it, then opens it; the
// fields that it sets do not change afterwards.
type gossip struct {
	sockets   *memberlist.NetTransport
	transport *filter.Gossip // sockets behind the filter; nil until opened
	list      *memberlist.Memberlist
	keys      *memberlist.Keyring // nil: not encrypted
	address   string              // as advertised

	seen    sightings
	refused logs.Limiter // of packets that the filter refuses
	foreign logs.Limiter // of nodes of other clusters

	metaChanged chan struct{} // capacity 1: this node's meta has changed
	rejoining   atomic.Bool   // rejoin runs
	seedsTried  atomic.Bool   // every address of Config.Join was tried
}

// Refused counts the connections to the peer port and the packets of gossip that
// were refused unread.
func (n *Node) Refused() uint64 { return n.mux.Refused() + n.gossip.refused.Total() }

// bindGossip opens the sockets of gossip, and sends nothing yet.
func (n *Node) bindGossip() error {
	host, port, err := splitAddr(n.cfg.Gossip)
	if err == nil {
		n.gossip.sockets, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{host}, BindPort: port, Logger: logs.Gossip(n.cfg.Log.With("part", "gossip")),
		})
	}
	if err != nil {
		return fmt.Errorf("%w: gossip %s: %w", ErrAddress, n.cfg.Gossip, err)
	}
	return nil
}

// openGossip starts memberlist on the bound sockets.
func (n *Node) openGossip() error {
	g := &n.gossip
	c := memberlist.DefaultLANConfig()
	// Each boot has a name of its own: a node that returns at another address does not
	// conflict with its former boot, nor with a node of another cluster that has its id.
	c.Name = fmt.Sprintf("%s.%d.%x", n.cfg.NodeID, n.boot, n.startup.gate.self.Incarnation[:4])
	c.EnableCompression = false // the filter refuses it: a packet could unpack to any size
	var err error
	if c.AdvertiseAddr, c.AdvertisePort, err = resolveAddr(n.cfg.AdvertiseGossip); err != nil {
		return fmt.Errorf("%w: advertise-gossip %s: %w", ErrAddress, n.cfg.AdvertiseGossip, err)
	}
	if c.AdvertisePort == 0 {
		c.AdvertisePort = g.sockets.GetAutoBindPort()
	}
	c.BindPort = c.AdvertisePort
	c.ProbeInterval, c.ProbeTimeout = n.cfg.Timing.Gossip, n.cfg.Timing.Gossip/2
	c.SuspicionMult = 5
	// Two attempts of the kernel: the next round dials anew before a third.
	c.TCPTimeout = 2 * time.Second
	c.PushPullInterval = 15 * time.Second
	c.GossipToTheDeadTime = time.Minute
	c.MsgpackUseNewTimeFormat = true
	c.Logger = logs.Gossip(n.cfg.Log.With("part", "gossip"))
	c.Keyring = g.keys
	g.transport = filter.NewGossip(g.sockets, c.EncryptionEnabled(), n.gossipRefused)
	c.Transport = g.transport
	c.Delegate = gossipDelegate{n}
	c.Events = &g.seen
	c.Alive, c.Merge = gossipFilter{n}, gossipFilter{n}
	g.address = net.JoinHostPort(c.AdvertiseAddr, strconv.Itoa(c.AdvertisePort))
	if g.list, err = memberlist.Create(c); err != nil {
		return fmt.Errorf("%w: gossip %s: %w", ErrAddress, n.cfg.Gossip, err)
	}
	return nil
}

// close stops what was opened. The node does not leave: it is expected to return, and
// the others should look for it.
func (g *gossip) close() error {
	switch {
	case g.list != nil:
		return g.list.Shutdown() // with its transport
	case g.transport != nil:
		return g.transport.Shutdown()
	case g.sockets != nil:
		return closeUnread(g.sockets)
	}
	return nil
}

// closeUnread closes sockets that memberlist does not read. Shutdown waits until the
// received packets are taken, and other nodes that know this one send some.
func closeUnread(t *memberlist.NetTransport) error {
	done := make(chan error, 1)
	go func() { done <- t.Shutdown() }()
	for {
		select {
		case <-t.PacketCh():
		case conn := <-t.StreamCh():
			_ = conn.Close() // the sender dials again
		case err := <-done:
			return err
		}
	}
}

// gossipRefused logs what the filter refuses. Any host can send a packet, so the lines
// are limited.
func (n *Node) gossipRefused(from net.Addr, err error) {
	if suppressed, ok := n.gossip.refused.Allow(time.Now()); ok {
		n.cfg.Log.Warn("gossip refused", "from", from.String(), "err", err, "suppressed", suppressed)
	}
}

// gossipDelegate provides the node's meta. Nothing else is sent by gossip.
type gossipDelegate struct{ n *Node }

// NodeMeta implements memberlist.Delegate.
func (g gossipDelegate) NodeMeta(int) []byte {
	b, err := g.n.meta().encode()
	if err != nil {
		return nil // Open has encoded it; only Formed and Cluster change
	}
	return b
}

func (gossipDelegate) NotifyMsg([]byte)                {}
func (gossipDelegate) GetBroadcasts(int, int) [][]byte { return nil }
func (gossipDelegate) LocalState(bool) []byte          { return nil }
func (gossipDelegate) MergeRemoteState([]byte, bool)   {}

// tellMeta makes metaLoop send this node's meta again.
func (n *Node) tellMeta() {
	select {
	case n.gossip.metaChanged <- struct{}{}:
	default:
	}
}

// metaLoop sends changes of this node's meta. It is a loop of its own because
// memberlist may wait for other nodes.
func (n *Node) metaLoop() {
	for {
		select {
		case <-n.gossip.metaChanged:
			if err := n.gossip.list.UpdateNode(time.Second); err != nil {
				n.cfg.Log.Debug("gossip of new meta", "err", err)
			}
		case <-n.ctx.Done():
			return
		}
	}
}
