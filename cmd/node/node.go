package node

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"quorate/api/auth"
	"quorate/api/rest"
	"quorate/cluster"
	"quorate/fsm"
	"quorate/fsm/ledger"
	"quorate/limiter"
	"quorate/limiter/exchange"
)

// drainTimeout bounds how long Close waits until other nodes own this node's partitions.
const drainTimeout = 8 * time.Second

// brokenTimeout bounds how long Close takes if the node has failed.
const brokenTimeout = 2 * time.Second

// sweepInterval is how often state that is no longer needed is dropped.
const sweepInterval = 10 * time.Second

// Node is a running quorate node.
type Node struct {
	log      *slog.Logger
	http     *rest.Server
	listener net.Listener
	cluster  *cluster.Node
	exchange *exchange.Exchange
	machine  *fsm.Machine
	security *security
	failed   chan error
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// Open starts a node and returns as soon as it runs; /readyz reports whether it is
// ready. The order is: the security settings, because their errors are the
// configuration's; the addresses, so that a node that cannot serve joins no cluster; the
// cluster; and HTTP last.
func Open(ctx context.Context, cfg Config, version string, log *slog.Logger) (_ *Node, err error) {
	n := &Node{log: log, failed: make(chan error, 4)}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.abort(ctx))
		}
	}()
	// Raft calls this function before cluster.Open returns.
	var running atomic.Pointer[cluster.Node]
	machine, err := fsm.New(func(*ledger.Map) {
		if c := running.Load(); c != nil {
			c.MapChanged()
		}
	})
	if err != nil {
		return nil, err
	}
	keeper := auth.New(machine.Tokens, func() bool {
		c := running.Load()
		return c != nil && c.Replayed()
	})
	if n.security, err = openSecurity(&cfg, keeper, time.Now); err != nil {
		return nil, err
	}
	if cfg.Insecure {
		log.Warn("--insecure: only the network protects what these settings would", "missing", strings.Join(cfg.missing(), ", "))
	}
	if n.listener, err = listen(ctx, "http-addr", cfg.HTTPAddr); err != nil {
		return nil, err
	}
	peer, err := listen(ctx, "peer-addr", cfg.PeerAddr)
	if err != nil {
		return nil, err
	}
	n.machine = machine
	// Buckets and leases use the same clock.
	start := time.Now()
	now := func() time.Duration { return time.Since(start) }
	n.cluster, err = cluster.Open(cluster.Config{
		NodeID: cfg.NodeID, DataDir: cfg.DataDir, Version: version,
		Peer: peer, Gossip: cfg.GossipAddr,
		AdvertiseHTTP:   orElse(cfg.AdvertiseHTTP, n.listener.Addr().String()),
		AdvertisePeer:   orElse(cfg.AdvertisePeer, peer.Addr().String()),
		AdvertiseGossip: orElse(cfg.AdvertiseGossip, cfg.GossipAddr),
		Join:            cfg.Join, BootstrapExpect: cfg.BootstrapExpect, Voters: cfg.Voters, HoldVersion: cfg.HoldVersion,
		Settings: ledger.NewSettings(time.Duration(cfg.KeyMemory), cfg.KeyMemoryEntries),
		TLS:      n.security.certs.peers(), GossipKeys: n.security.keys,
		FSM: machine, Log: log, Timing: cluster.DefaultTiming(), Wall: wall, Now: now,
	})
	if err != nil {
		return nil, err
	}
	running.Store(n.cluster)
	n.security.setKeys = n.cluster.SetGossipKeys

	n.exchange, err = exchange.New(exchange.Config{Transport: n.cluster, Log: log, Local: limiter.Config{
		Node: cfg.NodeID, Rules: machine, Leases: n.cluster, Now: now,
		Partitions: ledger.Partitions, Partition: ledger.Partition, Replication: machine.Replication, FirstSource: newSource(),
		Reservations: limiter.Reservations{TTL: time.Duration(cfg.ReservationTTL), Most: limiter.DefaultMost, NewID: newReservations(machine)},
	}})
	if err != nil {
		return nil, err
	}
	local := n.exchange.Local
	ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	archive, err := newArchive(ctx, cfg.DataDir, machine, n.cluster)
	if err != nil {
		return nil, fmt.Errorf("--data-dir %s: %w", cfg.DataDir, err)
	}
	router := limiter.NewRouter(cfg.NodeID, local, n.cluster, n.cluster, ledger.ErrBehind)
	n.cluster.SetLimiter(port{local, router, n.exchange})
	n.cluster.MapChanged() // for maps applied before running was set
	n.http, err = rest.New(rest.Config{
		NodeID: cfg.NodeID, Checker: router, Settler: router, Reader: n.cluster, Proposer: n.cluster, View: machine,
		Operator: operator{cfg.NodeID, n.cluster, machine, guards(&cfg)}, Archive: archive,
		Metrics: newMetrics(&sources{
			nodeID: cfg.NodeID, cluster: n.cluster, machine: machine, router: router, local: local,
			exchange: n.exchange, certs: n.security.certs, keeper: keeper,
		}),
		Access: keeper, NewSecret: auth.NewSecret,
		MaxConns: cfg.HTTPMaxConns, MaxRequests: cfg.HTTPMaxRequests,
		Logger: log,
	})
	if err != nil {
		return nil, err
	}

	n.wg.Add(7)
	go func() { defer n.wg.Done(); n.security.watch(ctx, log) }()
	go func() { defer n.wg.Done(); n.watch(ctx, machine.Halted()) }()
	go func() { defer n.wg.Done(); n.watch(ctx, n.cluster.Failed()) }()
	go func() { defer n.wg.Done(); n.watch(ctx, n.cluster.Removed()) }()
	go func() { defer n.wg.Done(); n.exchange.Run(ctx) }()
	go func() { defer n.wg.Done(); n.serve() }()
	go func() { defer n.wg.Done(); sweep(ctx, local) }()
	return n, nil
}

// abort closes what Open has opened before it failed.
func (n *Node) abort(ctx context.Context) error {
	var errs []error
	if n.cluster != nil {
		errs = append(errs, n.cluster.Close(ctx))
	}
	if n.cancel != nil {
		n.cancel() // after Close, whose context it may end
	}
	if n.listener != nil {
		errs = append(errs, n.listener.Close())
	}
	return errors.Join(errs...)
}

// newSource returns the first source number of this boot. Source numbers must differ
// from those of other nodes and boots.
func newSource() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// newReservations returns a function that makes ids of reservations. Until the log has the
// secret for their check, an id only has to be unguessable.
func newReservations(machine *fsm.Machine) func(account string) string {
	return func(account string) string {
		secret := machine.State().Secret()
		if secret == nil {
			return "r-" + rand.Text()
		}
		var nonce [ledger.NonceLen]byte
		_, _ = rand.Read(nonce[:]) // never fails
		return ledger.NewReservation(secret, account, machine.LogTime(), nonce)
	}
}

func listen(ctx context.Context, setting, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", setting, err)
	}
	return l, nil
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (n *Node) serve() {
	l := n.listener
	if c := n.security.certs; c != nil {
		l = tls.NewListener(l, c.api())
	}
	if err := n.http.Serve(l); err != nil {
		n.failed <- err
	}
}

// watch forwards an error that the node cannot continue from.
func (n *Node) watch(ctx context.Context, broken <-chan error) {
	select {
	case err := <-broken:
		n.failed <- err
	case <-ctx.Done():
	}
}

func sweep(ctx context.Context, local *limiter.Local) {
	t := time.NewTicker(sweepInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			local.Sweep()
		case <-ctx.Done():
			return
		}
	}
}

// HTTPAddr returns the address that the HTTP server listens on.
func (n *Node) HTTPAddr() string { return n.listener.Addr().String() }

// Reload triggers a reload of certificates, keys and tokens.
func (n *Node) Reload() {
	select {
	case n.security.reload <- struct{}{}:
	default: // a reload is pending
	}
}

// Failed returns a channel that delivers an error that the node cannot continue from.
func (n *Node) Failed() <-chan error { return n.failed }

// Close stops the node in the reverse order of its start: it hands over its partitions
// while it still answers, stops serving requests, transfers leadership, and stops
// everything else. It waits until ctx ends, and only briefly if the node has failed,
// since it can hand over nothing then.
func (n *Node) Close(ctx context.Context) error {
	if n.cluster.Broken() || n.machine.Stopped() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, brokenTimeout)
		defer cancel()
	}
	draining, cancel := context.WithTimeout(ctx, drainTimeout)
	if err := n.cluster.Drain(draining); err != nil && !errors.Is(err, cluster.ErrAlone) {
		n.log.Warn("not all partitions were handed over; their successors will take them", "err", err)
	}
	cancel()
	err := n.http.Shutdown(ctx)
	n.cancel()
	err = errors.Join(err, n.cluster.Close(ctx))
	n.wg.Wait()
	return err
}
