// Package transport carries the traffic between nodes: it shares the peer port
// between Raft and the peer protocol, encrypts it, admits nodes of the own cluster
// only, and adapts hashicorp/raft's network transport.
package transport

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
	"quorate/fsm/ledger"
)

const (
	// maxConns bounds the connections to the peer port.
	maxConns = 4096
	// acceptRetry is the pause after a failed accept, such as for want of descriptors.
	acceptRetry = 10 * time.Millisecond
	// dialTimeout is how long a connection may take to be established. The kernel
	// sends a lost first packet again after 1 s, 2 s and 4 s: a caller that dials anew
	// instead notices sooner that a link is back.
	dialTimeout = time.Second
)

// requestLimits bound what Raft of another node sends. Earlier versions send at most
// 64 entries, of any size.
var requestLimits = filter.Limits{Entries: MaxAppendEntries, Bytes: 64 * (ledger.MaxCommand + 1<<10), Stall: 10 * time.Second}

// Identity is the cluster that this node belongs to.
type Identity interface {
	// Get returns the id of the cluster, empty if the node is in none, and whether the
	// node has state of Raft from a version that did not store the id.
	Get() (clusterID string, legacy bool)
}

// Config is the configuration of a Mux.
type Config struct {
	Listener  net.Listener // of the peer port; the Mux closes it
	Advertise string       // host:port at which other nodes reach it
	TLS       *TLS         // nil: plain TCP
	NodeID    string
	Identity  Identity
	Server    *peer.Server // of the peer protocol; Shutdown closes it
	// Permit waits until Raft of another node may connect, and returns an error if it
	// may not; nil: it may at once.
	Permit func(nodeID string) error
	Log    *slog.Logger
}

// Mux shares the peer port between Raft and the peer protocol. It is Raft's stream
// layer. Its methods may be called concurrently.
type Mux struct {
	cfg     Config
	ctx     context.Context // of the node
	refused logs.Limiter
	raft    chan net.Conn
	closed  chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

var _ raft.StreamLayer = (*Mux)(nil)

// NewMux begins to accept connections. It accepts until Close is called; ctx only
// bounds the handshakes.
func NewMux(ctx context.Context, cfg Config) *Mux {
	m := &Mux{cfg: cfg, ctx: ctx, raft: make(chan net.Conn), closed: make(chan struct{})}
	m.wg.Add(1)
	go m.acceptLoop()
	return m
}

func (m *Mux) acceptLoop() {
	defer m.wg.Done()
	slots := make(chan struct{}, maxConns)
	for {
		conn, err := m.cfg.Listener.Accept()
		if err != nil {
			select {
			case <-m.closed:
				return
			case <-time.After(acceptRetry):
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

// route completes the handshakes of a connection and passes it to Raft or to the
// server of the peer protocol.
func (m *Mux) route(raw net.Conn) {
	conn, err := m.cfg.TLS.server(m.ctx, raw)
	if err != nil {
		m.refuse(raw, err)
		return
	}
	welcomed, err := peer.Welcome(conn, m.admit)
	if err != nil {
		m.refuse(raw, err)
		conn.Close()
		return
	}
	switch welcomed.Magic {
	case peer.MagicRaft:
		held := &heldConn{Conn: conn, closed: make(chan struct{})}
		select {
		case m.raft <- held:
			select { // the connection occupies its slot until it is closed
			case <-held.closed:
			case <-m.closed:
			}
		case <-m.closed:
			conn.Close()
		}
	default:
		m.cfg.Server.Serve(welcomed)
	}
}

var errNoCluster = errors.New("this node is in no cluster yet")

// admit returns an error if a node may not connect: a node of another cluster, or for
// Raft one that is in no cluster. While this node has no identity it receives nothing
// of Raft: it would acknowledge with a log that may have lost what it acknowledged
// before.
func (m *Mux) admit(magic string, h peer.Hello) error {
	cluster, legacy := m.cfg.Identity.Get()
	switch {
	case cluster != "" && h.Cluster != "" && cluster != h.Cluster:
		return fmt.Errorf("node %s is of cluster %s, node %s of cluster %s", h.From, h.Cluster, m.cfg.NodeID, cluster)
	case magic == peer.MagicRaft && cluster == "" && !legacy:
		return errNoCluster
	case magic == peer.MagicRaft && h.Cluster == "":
		return fmt.Errorf("node %s is in no cluster yet", h.From)
	case magic == peer.MagicRaft && m.cfg.Permit != nil:
		return m.cfg.Permit(h.From)
	}
	return nil
}

func (m *Mux) refuse(conn net.Conn, err error) {
	if errors.Is(err, io.EOF) {
		return // a probe of the port
	}
	if suppressed, ok := m.refused.Allow(time.Now()); ok {
		m.cfg.Log.Warn("a connection to the peer port was refused", "from", conn.RemoteAddr(), "err", err, "suppressed", suppressed)
	}
}

// Refused returns the number of connections that were refused.
func (m *Mux) Refused() uint64 { return m.refused.Total() }

// heldConn reports on a channel that it was closed.
type heldConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

// Close implements net.Conn.
func (c *heldConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Accept implements net.Listener. It returns the next connection of Raft.
func (m *Mux) Accept() (net.Conn, error) {
	select {
	case conn := <-m.raft:
		return filter.Requests(conn, requestLimits), nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections of the peer protocol end when its server
// is closed.
func (m *Mux) Close() (err error) {
	m.once.Do(func() {
		close(m.closed)
		err = m.cfg.Listener.Close()
	})
	return err
}

// Shutdown closes the Mux and its server, and waits for their goroutines.
func (m *Mux) Shutdown() error {
	err := m.Close()
	m.cfg.Server.Close()
	m.wg.Wait()
	return err
}

// Addr implements net.Listener. It returns the advertised address.
func (m *Mux) Addr() net.Addr { return advertised(m.cfg.Advertise) }

// Dial implements raft.StreamLayer. It connects to the Raft of another node.
func (m *Mux) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := m.dial(ctx, string(addr), peer.MagicRaft)
	if err != nil {
		return nil, err
	}
	return filter.Replies(conn), nil
}

// DialPeer connects to another node for the peer protocol.
func (m *Mux) DialPeer(ctx context.Context, addr string) (net.Conn, error) {
	return m.dial(ctx, addr, peer.MagicPeer)
}

// dial connects and completes the handshakes. Keep-alives detect a host that has
// vanished within seconds.
func (m *Mux) dial(ctx context.Context, addr, magic string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if conn, err = m.cfg.TLS.client(ctx, conn); err != nil {
		return nil, err
	}
	cluster, _ := m.cfg.Identity.Get()
	greeted, err := peer.Greet(ctx, conn, magic, peer.Hello{Cluster: cluster, From: m.cfg.NodeID})
	if err != nil {
		return nil, err
	}
	return greeted, nil
}

// advertised is a host:port as a net.Addr.
type advertised string

func (a advertised) Network() string { return "tcp" }
func (a advertised) String() string  { return string(a) }
