package cluster

import (
	"bytes"
	"crypto/rand"
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
	"quorate/cluster/logs"
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
	Expect  int    // nodes that it waits for to form a cluster
	Formed  bool   // it has Raft state: nobody may form a new cluster with it
	Cluster string // id of the one that its disk belongs to; empty: none
}

const (
	maxAddr    = 96 // bytes of a host:port in meta
	metaFields = 8  // a later version may add some
)

func (m *meta) encode() ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	err := bucket.Fields(
		func() error { return e.EncodeArrayLen(metaFields) },
		func() error { return e.EncodeString(m.ID) },
		func() error { return e.EncodeUint(m.Boot) },
		func() error { return e.EncodeString(m.HTTP) },
		func() error { return e.EncodeString(m.Peer) },
		func() error { return e.EncodeString(m.Version) },
		func() error { return e.EncodeInt(int64(m.Expect)) },
		func() error { return e.EncodeBool(m.Formed) },
		func() error { return e.EncodeString(m.Cluster) },
	)
	if err == nil && buf.Len() > memberlist.MetaMaxSize {
		err = fmt.Errorf("node meta of %d bytes, at most %d", buf.Len(), memberlist.MetaMaxSize)
	}
	return buf.Bytes(), err
}

func decodeMeta(b []byte) (m meta, err error) {
	d := msgpack.NewDecoder(bytes.NewReader(b))
	fields, err := bucket.ReadLen(d, -4*metaFields)
	if err == nil && fields < metaFields {
		err = fmt.Errorf("node meta of %d fields, at least %d", fields, metaFields)
	}
	if err != nil {
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
		func() (err error) { m.Cluster, err = bucket.ReadString(d, ledger.MaxNodeID); return err },
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

// shutUnread ends a transport that nobody reads yet. It waits until what it has
// received is taken, and others gossip to a node that they know.
func shutUnread(t *memberlist.NetTransport) error {
	done := make(chan error, 1)
	go func() { done <- t.Shutdown() }()
	for {
		select {
		case <-t.PacketCh():
		case conn := <-t.StreamCh():
			_ = conn.Close() // whoever it was dials again
		case err := <-done:
			return err
		}
	}
}

// openGossip begins to look for the others on the address that was bound.
func (n *Node) openGossip() error {
	c := memberlist.DefaultLANConfig()
	// A name for each life: a node that comes back at another address is not a
	// conflict with its former self, nor one of another cluster with ours.
	var life [4]byte
	_, _ = rand.Read(life[:]) // never fails
	c.Name = fmt.Sprintf("%s.%d.%x", n.cfg.NodeID, n.boot, life)
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
	// Two tries of the kernel's: the next round dials anew, sooner than a third.
	c.TCPTimeout = 2 * time.Second
	c.PushPullInterval = 15 * time.Second
	c.GossipToTheDeadTime = time.Minute
	c.MsgpackUseNewTimeFormat = true
	c.Logger = n.gossipLogger()
	c.Keyring = n.keys
	n.filtered = filter.NewGossip(n.packets, c.EncryptionEnabled(), n.refusedGossip)
	c.Transport = n.filtered
	c.Delegate = gossipDelegate{n}
	c.Events = &n.seen
	c.Alive, c.Merge = strangers{n}, strangers{n}
	n.gossipAddr = net.JoinHostPort(c.AdvertiseAddr, strconv.Itoa(c.AdvertisePort))
	if n.gossip, err = memberlist.Create(c); err != nil {
		return fmt.Errorf("%w: gossip %s: %w", ErrAddress, n.cfg.Gossip, err)
	}
	return nil
}

// gossipLogger writes memberlist's lines to the node's log.
func (n *Node) gossipLogger() *log.Logger {
	return logs.Gossip(n.cfg.Log.With("part", "gossip"))
}

// refusedGossip is told of what the filter does not let through. Anybody can
// send a packet, so there is not a line for each.
func (n *Node) refusedGossip(from net.Addr, err error) {
	if suppressed, ok := n.refused.Allow(time.Now()); ok {
		n.cfg.Log.Warn("gossip refused", "from", from.String(), "err", err, "suppressed", suppressed)
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
		ID: n.cfg.NodeID, Boot: n.boot, HTTP: n.cfg.AdvertiseHTTP, Peer: n.cfg.AdvertisePeer,
		Version: n.cfg.Version, Expect: n.cfg.BootstrapExpect, Formed: n.formed.Load(),
		Cluster: n.identity.ClusterID(),
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

// full reports whether there is no room for one more.
func (s *sightings) full(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.nodes[name]
	return !known && len(s.nodes) >= ledger.MaxMembers
}

func (s *sightings) all() []sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.nodes))
}

// strangers keeps nodes of other clusters out, and more nodes than there may be.
// Alone the one delegate or the other would let some in.
type strangers struct{ n *Node }

// NotifyAlive is memberlist.AliveDelegate.
func (s strangers) NotifyAlive(m *memberlist.Node) error {
	if err := s.n.stranger(m.Meta); err != nil {
		return err
	}
	if s.n.seen.full(m.Name) {
		return fmt.Errorf("more than %d nodes", ledger.MaxMembers)
	}
	return nil
}

// NotifyMerge is memberlist.MergeDelegate.
func (s strangers) NotifyMerge(list []*memberlist.Node) error {
	for _, m := range list {
		if m.State != memberlist.StateAlive && m.State != memberlist.StateSuspect {
			continue
		}
		if err := s.n.stranger(m.Meta); err != nil {
			return err
		}
	}
	return nil
}

// stranger says why a node is none of ours. One that is in no cluster yet may
// come to be.
func (n *Node) stranger(b []byte) error {
	m, err := decodeMeta(b)
	if err != nil {
		return fmt.Errorf("a node whose meta is of another program: %w", err)
	}
	if own := n.identity.ClusterID(); n.formed.Load() && m.Formed && m.Cluster != "" && own != "" && m.Cluster != own {
		err := fmt.Errorf("node %s is of cluster %s, this one of cluster %s", m.ID, m.Cluster, own)
		if _, ok := n.foreign.Allow(time.Now()); ok {
			n.cfg.Log.Warn("a node of another cluster is kept out; see --join", "err", err)
		}
		return err
	}
	return nil
}

// members returns who gossip believes to live, of each node its latest life. A
// node that is in a cluster sees only those of the same.
func (n *Node) members() map[string]member {
	out := map[string]member{}
	own, formed := n.identity.ClusterID(), n.formed.Load()
	for _, m := range n.seen.all() {
		d, err := decodeMeta(m.meta)
		if err != nil || !ledger.ValidAccount(d.ID) {
			continue // a node of another kind; it can take no part
		}
		if formed && own != "" && d.Cluster != own {
			continue // one that only wants to be in it, perhaps under another's id
		}
		if was, ok := out[d.ID]; ok && was.Boot > d.Boot {
			continue
		}
		out[d.ID] = member{meta: d, gossip: m.address, state: "alive"}
	}
	return out
}

// overlooks reports whether a node answers that gossip takes for dead. Nothing
// else would tell gossip for long.
func (n *Node) overlooks() bool {
	for id, r := range n.peers.all() {
		if r.asMember().state == "dead" && n.Reachable(id) {
			return true
		}
	}
	return false
}

// rejoin asks the seeds, and who was ever seen in this life, for the others
// while there are some that gossip does not know: it forgets a node that was cut
// off for long. All are asked at once, so that none waits for one that is gone.
func (n *Node) rejoin() {
	known := map[string]bool{}
	for _, m := range n.seen.all() {
		known[m.address] = true
	}
	var wg sync.WaitGroup
	for _, seed := range n.everSeen() {
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
			if _, err := n.gossip.Join([]string{addr}); err != nil {
				n.cfg.Log.Debug("join", "addr", addr, "err", err)
			}
		})
	}
	wg.Wait()
	n.seedsTried.Store(true)
}

// everSeen returns the gossip addresses that this node was told or has learned.
func (n *Node) everSeen() []string {
	addrs := slices.Clone(n.cfg.Join)
	for _, r := range n.peers.all() {
		if m := r.asMember(); m.gossip != "" && m.state != "alive" && !slices.Contains(addrs, m.gossip) {
			addrs = append(addrs, m.gossip)
		}
	}
	return addrs
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
