package cluster

import (
	"bytes"
	"fmt"
	"log"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/vmihailenco/msgpack/v5"

	"quorate/cluster/filter"
	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// meta is what each node tells the others about itself; memberlist carries 512
// bytes of it.
type meta struct {
	ID      string
	Boot    uint64
	HTTP    string
	Peer    string
	Version string
	Expect  int  // nodes that it waits for to form a cluster
	Formed  bool // it has Raft state: nobody may form a new cluster with it
}

const maxAddr = 96 // bytes of a host:port in meta

func (m *meta) encode() ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	err := bucket.Fields(
		func() error { return e.EncodeArrayLen(7) },
		func() error { return e.EncodeString(m.ID) },
		func() error { return e.EncodeUint(m.Boot) },
		func() error { return e.EncodeString(m.HTTP) },
		func() error { return e.EncodeString(m.Peer) },
		func() error { return e.EncodeString(m.Version) },
		func() error { return e.EncodeInt(int64(m.Expect)) },
		func() error { return e.EncodeBool(m.Formed) },
	)
	if err == nil && buf.Len() > memberlist.MetaMaxSize {
		err = fmt.Errorf("node meta of %d bytes, at most %d", buf.Len(), memberlist.MetaMaxSize)
	}
	return buf.Bytes(), err
}

func decodeMeta(b []byte) (m meta, err error) {
	d := msgpack.NewDecoder(bytes.NewReader(b))
	if _, err = bucket.ReadLen(d, 7); err != nil {
		return m, err
	}
	err = bucket.Fields(
		func() (err error) { m.ID, err = bucket.ReadString(d, ledger.MaxNodeID); return err },
		func() (err error) { m.Boot, err = d.DecodeUint64(); return err },
		func() (err error) { m.HTTP, err = bucket.ReadString(d, maxAddr); return err },
		func() (err error) { m.Peer, err = bucket.ReadString(d, maxAddr); return err },
		func() (err error) { m.Version, err = bucket.ReadString(d, 64); return err },
		func() error { return bucket.Int(d, &m.Expect) },
		func() (err error) { m.Formed, err = d.DecodeBool(); return err },
	)
	return m, err
}

// member is a node as gossip knows it.
type member struct {
	meta
	gossip string
	state  string // alive, suspect, left or dead
}

// bindGossip takes the gossip address, and says nothing on it yet.
func (n *Node) bindGossip() error {
	host, port, err := splitAddr(n.cfg.Gossip)
	if err == nil {
		n.packets, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{host}, BindPort: port, Logger: n.gossipLogger(),
		})
	}
	if err != nil {
		return fmt.Errorf("%w: gossip %s: %w", ErrAddress, n.cfg.Gossip, err)
	}
	return nil
}

// openGossip begins to look for the others on the address that was bound.
func (n *Node) openGossip() error {
	c := memberlist.DefaultLANConfig()
	// A name for each life: a node that comes back at another address is not a
	// conflict with its former self.
	c.Name = n.cfg.NodeID + "." + strconv.FormatUint(n.disk.boot, 10)
	c.EnableCompression = false // it is refused: a packet could unpack to any size
	var err error
	if c.AdvertiseAddr, c.AdvertisePort, err = resolveAddr(n.cfg.AdvertiseGossip); err != nil {
		return fmt.Errorf("%w: advertise-gossip %s: %w", ErrAddress, n.cfg.AdvertiseGossip, err)
	}
	if c.AdvertisePort == 0 {
		c.AdvertisePort = n.packets.GetAutoBindPort()
	}
	c.BindPort = c.AdvertisePort
	c.ProbeInterval, c.ProbeTimeout = n.cfg.Timing.Gossip, n.cfg.Timing.Gossip/2
	c.SuspicionMult = 5
	c.PushPullInterval = 15 * time.Second
	c.GossipToTheDeadTime = time.Minute
	c.MsgpackUseNewTimeFormat = true
	c.Logger = n.gossipLogger()
	c.Keyring = n.keys
	n.filtered = filter.NewGossip(n.packets, c.EncryptionEnabled(), n.refusedGossip)
	c.Transport = n.filtered
	c.Delegate = gossipDelegate{n}
	c.Events = &n.seen
	n.gossipAddr = net.JoinHostPort(c.AdvertiseAddr, strconv.Itoa(c.AdvertisePort))
	if n.gossip, err = memberlist.Create(c); err != nil {
		return fmt.Errorf("%w: gossip %s: %w", ErrAddress, n.cfg.Gossip, err)
	}
	return nil
}

// gossipLogger writes memberlist's lines to the node's log.
func (n *Node) gossipLogger() *log.Logger {
	return log.New(logWriter{n.cfg.Log.With("part", "gossip"), &sparing{most: gossipLines}}, "", 0)
}

// refusedGossip is told of what the filter does not let through. Anybody can
// send a packet, so there is not a line for each.
func (n *Node) refusedGossip(from net.Addr, err error) {
	if left, due := n.refused.now(time.Now()); due {
		n.cfg.Log.Warn("gossip refused", "from", from.String(), "err", err, "others", left)
	}
}

// gossipDelegate hands out the node's meta; nothing else goes by gossip.
type gossipDelegate struct{ n *Node }

// NodeMeta is memberlist.Delegate.
func (g gossipDelegate) NodeMeta(int) []byte {
	b, err := g.n.meta().encode()
	if err != nil {
		return nil // Open has encoded it once; only Formed changes
	}
	return b
}

func (gossipDelegate) NotifyMsg([]byte)                {}
func (gossipDelegate) GetBroadcasts(int, int) [][]byte { return nil }
func (gossipDelegate) LocalState(bool) []byte          { return nil }
func (gossipDelegate) MergeRemoteState([]byte, bool)   {}

func (n *Node) meta() *meta {
	return &meta{
		ID: n.cfg.NodeID, Boot: n.disk.boot, HTTP: n.cfg.AdvertiseHTTP, Peer: n.cfg.AdvertisePeer,
		Version: n.cfg.Version, Expect: n.cfg.BootstrapExpect, Formed: n.formed.Load(),
	}
}

// sightings are the nodes that gossip believes to live, by their gossip names.
// memberlist's own list holds pointers to what it goes on changing, so copies
// are made where it holds its lock: in the notifications. They only note.
type sightings struct {
	mu    sync.Mutex
	nodes map[string]sighting // guarded by mu
}

type sighting struct {
	meta    []byte
	address string
}

// NotifyJoin is memberlist.EventDelegate.
func (s *sightings) NotifyJoin(m *memberlist.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes == nil {
		s.nodes = map[string]sighting{}
	}
	s.nodes[m.Name] = sighting{slices.Clone(m.Meta), m.Address()}
}

// NotifyUpdate is memberlist.EventDelegate.
func (s *sightings) NotifyUpdate(m *memberlist.Node) { s.NotifyJoin(m) }

// NotifyLeave is memberlist.EventDelegate.
func (s *sightings) NotifyLeave(m *memberlist.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.nodes, m.Name)
}

func (s *sightings) all() []sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.nodes))
}

// members returns who gossip believes to live, of each node its latest life.
func (n *Node) members() map[string]member {
	out := map[string]member{}
	for _, m := range n.seen.all() {
		d, err := decodeMeta(m.meta)
		if err != nil || !ledger.ValidAccount(d.ID) {
			continue // a node of another kind; it can take no part
		}
		if was, ok := out[d.ID]; ok && was.Boot > d.Boot {
			continue
		}
		out[d.ID] = member{meta: d, gossip: m.address, state: "alive"}
	}
	return out
}

// rejoin asks the seeds for the others while there are some that gossip does
// not know.
func (n *Node) rejoin() {
	known := map[string]bool{}
	for _, m := range n.seen.all() {
		known[m.address] = true
	}
	for _, seed := range n.cfg.Join {
		host, port, err := resolveAddr(seed)
		if err != nil {
			n.cfg.Log.Debug("join address does not resolve", "addr", seed, "err", err)
			continue
		}
		addr := net.JoinHostPort(host, strconv.Itoa(port))
		if known[addr] {
			continue
		}
		if _, err := n.gossip.Join([]string{addr}); err != nil {
			n.cfg.Log.Debug("join", "addr", addr, "err", err)
		}
	}
}

func splitAddr(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if host == "" {
		host = "0.0.0.0"
	}
	port, err = strconv.Atoi(p)
	return host, port, err
}

// resolveAddr returns the address with its name resolved.
func resolveAddr(addr string) (host string, port int, err error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return "", 0, err
	}
	return a.IP.String(), a.Port, nil
}
