package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/filter"
	"quorate/cluster/logs"
	"quorate/cluster/peer"
	"quorate/cluster/storage"
	"quorate/fsm/ledger"
)

// maxConns bounds the connections to the peer port.
const maxConns = 4096

// mux shares the peer port between Raft and the peer protocol. It is Raft's
// stream layer.
type mux struct {
	ctx      context.Context // of the node
	ln       net.Listener
	addr     net.Addr // as others see it
	tls      *PeerTLS
	nodeID   string
	identity *storage.Identity
	log      *slog.Logger
	refused  logs.Limiter
	server   *peer.Server
	raft     chan net.Conn
	closed   chan struct{}
	once     sync.Once
	wg       sync.WaitGroup
}

var _ raft.StreamLayer = (*mux)(nil)

func newMux(ctx context.Context, cfg Config, identity *storage.Identity, server *peer.Server) *mux {
	m := &mux{
		ctx: ctx, ln: cfg.Peer, addr: advertised(cfg.AdvertisePeer), tls: cfg.TLS, nodeID: cfg.NodeID, identity: identity, log: cfg.Log, server: server,
		raft: make(chan net.Conn), closed: make(chan struct{}),
	}
	m.wg.Add(1)
	go m.accept()
	return m
}

func (m *mux) accept() {
	defer m.wg.Done()
	slots := make(chan struct{}, maxConns)
	for {
		conn, err := m.ln.Accept()
		if err != nil {
			select {
			case <-m.closed:
				return
			case <-time.After(10 * time.Millisecond): // out of descriptors, say
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue
			}
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		m.wg.Add(1)
		go func() {
			defer m.wg.Done()
			defer func() { <-slots }()
			m.route(conn)
		}()
	}
}

// route has the other side show who it is and what it wants, and hands the
// connection over.
func (m *mux) route(raw net.Conn) {
	conn, err := m.tls.accept(m.ctx, raw)
	if err != nil {
		m.refuse(raw, err)
		return
	}
	magic, err := peer.Welcome(conn, m.admit)
	if err != nil {
		m.refuse(raw, err)
		conn.Close()
		return
	}
	switch magic {
	case peer.MagicRaft:
		held := &heldConn{Conn: conn, closed: make(chan struct{})}
		select {
		case m.raft <- held:
			select { // it counts as long as it lasts
			case <-held.closed:
			case <-m.closed:
			}
		case <-m.closed:
			conn.Close()
		}
	default:
		m.server.Serve(conn)
	}
}

// admit returns an error if a peer is not to be served: a node of another cluster, or
// for Raft one that is in no cluster. A node whose disk has no identity must not
// receive anything of Raft: it would acknowledge with a log that may have lost what it
// acknowledged before.
func (m *mux) admit(magic string, h peer.Hello) error {
	cluster, legacy := m.identity.Get()
	switch {
	case cluster != "" && h.Cluster != "" && cluster != h.Cluster:
		return fmt.Errorf("node %s is of cluster %s, node %s of cluster %s", h.From, h.Cluster, m.nodeID, cluster)
	case magic == peer.MagicRaft && cluster == "" && !legacy:
		return errNoCluster
	case magic == peer.MagicRaft && h.Cluster == "":
		return fmt.Errorf("node %s is in no cluster yet", h.From)
	}
	return nil
}

var errNoCluster = errors.New("this node is in no cluster yet")

func (m *mux) refuse(conn net.Conn, err error) {
	if errors.Is(err, io.EOF) {
		return // somebody only looked whether the port is open
	}
	if suppressed, ok := m.refused.Allow(time.Now()); ok {
		m.log.Warn("a connection to the peer port was refused", "from", conn.RemoteAddr(), "err", err, "suppressed", suppressed)
	}
}

// heldConn tells when it was closed.
type heldConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

// Close is net.Conn.
func (c *heldConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Accept returns the next connection of Raft's.
func (m *mux) Accept() (net.Conn, error) {
	select {
	case conn := <-m.raft:
		return filter.Requests(conn, raftLimits), nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

// Close stops listening. Connections of the peer protocol end when its server
// is closed.
func (m *mux) Close() (err error) {
	m.once.Do(func() {
		close(m.closed)
		err = m.ln.Close()
	})
	return err
}

// Addr returns the address that others reach this node at.
func (m *mux) Addr() net.Addr { return m.addr }

// Dial connects to another node's Raft.
func (m *mux) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := m.dial(ctx, string(addr), peer.MagicRaft)
	if err != nil {
		return nil, err
	}
	return filter.Replies(conn), nil
}

// raftLimits bound what another node's Raft sends. Nodes of earlier versions send 64
// entries at most, of whatever size.
var raftLimits = filter.Limits{Entries: maxAppend, Bytes: 64 * (ledger.MaxCommand + 1<<10), Stall: 10 * time.Second}

// connectFor is how long a connection may take to be accepted. A first packet that
// is lost the kernel sends again after 1 s, then 2 s, then 4 s: who dials anew finds a
// link that has come back sooner.
const connectFor = time.Second

// dial connects with keep-alives that notice a vanished host in seconds, and
// says who we are.
func (m *mux) dial(ctx context.Context, addr, magic string) (net.Conn, error) {
	d := net.Dialer{Timeout: connectFor, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if conn, err = m.tls.dialled(ctx, conn); err != nil {
		return nil, err
	}
	if err := peer.Greet(ctx, conn, magic, peer.Hello{Cluster: m.identity.ClusterID(), From: m.nodeID}); err != nil {
		return nil, err
	}
	return conn, nil
}

// advertised is an address by name or number.
type advertised string

func (a advertised) Network() string { return "tcp" }
func (a advertised) String() string  { return string(a) }
