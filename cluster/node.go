package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"quorate/cluster/logs"
	"quorate/cluster/peer"
	"quorate/cluster/storage"
	"quorate/cluster/transport"
	"quorate/fsm/ledger"
)

// Node is this process's part in the cluster. Its methods may overlap.
type Node struct {
	cfg       Config
	disk      *storage.Dir
	boot      uint64 // number of this boot
	watchdog  *storage.Watchdog
	mux       *transport.Mux
	server    *peer.Server
	transport *raft.NetworkTransport
	raft      *raft.Raft
	raftLog   hclog.Logger
	started   atomic.Pointer[raft.Raft] // the same, for what is asked while it starts
	gossip    gossip
	identity  *storage.Identity

	hadState  bool          // there was Raft state when the node started
	lastStart uint64        // last index of the log when the node started
	open      atomic.Bool   // Raft runs: the port answers before
	formed    atomic.Bool   // there is Raft state
	ready     atomic.Bool   // the log as it stood at the start has been applied
	confirmed atomic.Uint64 // term in which this leader has committed an entry

	removed    atomic.Bool // from the cluster, by order
	removedErr chan error

	// Diverged counts the times that another node's state was found to differ.
	Diverged atomic.Uint64

	clock   clock
	peers   peers
	owners  owners
	writes  chan *write
	sent    atomic.Pointer[sent] // on its way to the leader; nil: none
	kick    chan struct{}        // reconcile soon
	cancel  context.CancelFunc
	ctx     context.Context
	wg      sync.WaitGroup
	closing sync.Once
	fault   *storage.Fault // of the disk, or of the node's place in the cluster
}

// Open starts the node: disk, peer port, Raft, gossip, and the loops. Its
// errors wrap storage.ErrDataDir or ErrAddress where those are at fault.
func Open(cfg Config) (_ *Node, err error) {
	if cfg.Voters == 0 {
		cfg.Voters = DefaultVoters
	}
	if cfg.Wall == nil {
		cfg.Wall = time.Now
	}
	if start := time.Now(); cfg.Now == nil {
		cfg.Now = func() time.Duration { return time.Since(start) }
	}
	n := &Node{cfg: cfg, fault: storage.NewFault(), writes: make(chan *write, maxQueued), kick: make(chan struct{}, 1), removedErr: make(chan error, 1)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.gossip.metaChanged = make(chan struct{}, 1)
	n.peers.clients = map[string]*remote{}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.shutdown())
		}
	}()
	// The disk first: it tells whether we may be who we say we are.
	n.raftLog = logs.Raft(cfg.Log.With("part", "raft"))
	if n.disk, err = storage.Open(cfg.DataDir, cfg.NodeID, storage.Options{Logger: n.raftLog, NoSync: noFsync}); err != nil {
		cfg.Peer.Close()
		return nil, err
	}
	n.boot = n.disk.Boot()
	n.owners.init(ledger.Member{ID: cfg.NodeID, Boot: n.boot}, cfg.Timing.ownership())
	if n.identity, err = n.disk.Identity(); err != nil {
		cfg.Peer.Close()
		return nil, err
	}
	if _, err = n.meta().encode(); err != nil {
		cfg.Peer.Close()
		return nil, fmt.Errorf("%w: advertised addresses: %w", ErrAddress, err)
	}
	if n.gossip.keys, err = keyring(cfg.GossipKeys); err != nil {
		cfg.Peer.Close()
		return nil, err
	}
	if err = n.bindGossip(); err != nil {
		cfg.Peer.Close()
		return nil, err
	}
	n.server = peer.NewServer(handler{n})
	n.mux = transport.NewMux(n.ctx, transport.Config{
		Listener: cfg.Peer, Advertise: cfg.AdvertisePeer, TLS: cfg.TLS, NodeID: cfg.NodeID,
		Identity: n.identity, Server: n.server, Log: cfg.Log,
	})
	if n.lastStart, err = n.openRaft(); err != nil {
		return nil, err
	}
	n.open.Store(true)
	n.formed.Store(n.hadState)
	// Gossip last: who hears of us may ask us at once.
	if err = n.openGossip(); err != nil {
		return nil, err
	}
	for _, loop := range []func(){n.faultLoop, n.tickLoop, n.ownershipLoop, n.writeLoop, n.leaderLoop, n.metaLoop, n.enterLoop} {
		n.wg.Add(1)
		go func() { defer n.wg.Done(); loop() }()
	}
	return n, nil
}

// Close hands leadership over if the node has it, stops everything and waits,
// for as long as ctx allows. The node stays a member.
func (n *Node) Close(ctx context.Context) error {
	var err error
	n.closing.Do(func() {
		if n.fault.Err() == nil {
			// Only on the way out, or by order: an interrupted transfer can leave a
			// leader refusing writes for good (hashicorp/raft#696).
			n.stepDown(ctx)
		}
		err = n.shutdownWithin(ctx)
	})
	return err
}

// Failed delivers the error that the node cannot go on from. The process should
// close it and end.
func (n *Node) Failed() <-chan error { return n.fault.Failed() }

// Broken reports whether there is such an error.
func (n *Node) Broken() bool { return n.fault.Err() != nil }

// faultLoop takes a node that cannot go on away from Raft's others, at once:
// what would close it may hang with the disk.
func (n *Node) faultLoop() {
	select {
	case <-n.fault.Done():
		n.cfg.Log.Error("this node stops", "err", n.fault.Err())
		_ = n.transport.Close() // the fault is the error that counts
		n.transport.CloseStreams()
	case <-n.ctx.Done():
	}
}

// shutdownWithin waits for as long as ctx allows: with a disk that hangs there
// is no end to wait for.
func (n *Node) shutdownWithin(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- n.shutdown() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("stop the node: %w", ctx.Err())
	}
}

func (n *Node) shutdown() error {
	var errs []error
	n.cancel()
	n.wg.Wait()
	errs = append(errs, n.gossip.close())
	if n.raft != nil {
		errs = append(errs, n.raft.Shutdown().Error())
	}
	if n.transport != nil {
		errs = append(errs, n.transport.Close())
	}
	if n.mux != nil {
		errs = append(errs, n.mux.Close())
		n.server.Close()
		n.mux.Wait()
	}
	n.peers.close()
	if n.disk != nil {
		errs = append(errs, n.disk.Close())
	}
	return ignoreClosed(errors.Join(errs...))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// tickLoop does what is due at every ping: refresh who is known, ping them,
// note readiness, form the cluster, look for lost nodes.
func (n *Node) tickLoop() {
	t := time.NewTicker(n.cfg.Timing.Ping)
	defer t.Stop()
	var sought time.Time
	for {
		n.tick(&sought)
		select {
		case <-t.C:
		case <-n.ctx.Done():
			return
		}
	}
}

func (n *Node) tick(sought *time.Time) {
	// What was never committed of that log may have given way to a shorter one.
	if !n.ready.Load() && n.cfg.FSM.Index() >= min(n.lastStart, n.raft.LastIndex()) {
		n.ready.Store(true)
	}
	members := n.members()
	n.peers.update(members, n)
	n.beatAll()
	wait := n.cfg.Timing.Rejoin
	switch {
	case len(members) <= 1:
		wait = n.cfg.Timing.Ping
	case n.missesReachable(): // it may be for ever, where only gossip is kept away
		wait = n.cfg.Timing.Gossip
	}
	if now := time.Now(); now.Sub(*sought) >= wait && n.gossip.rejoining.CompareAndSwap(false, true) {
		*sought = now
		n.wg.Add(1) // join may take seconds
		go func() { defer n.wg.Done(); defer n.gossip.rejoining.Store(false); n.rejoin() }()
	}
	if id := n.cfg.FSM.ClusterID(); id != "" && n.formed.Load() && n.identity.ClusterID() == "" {
		if err := n.identity.SetClusterID(id); err != nil { // a legacy disk
			n.cfg.Log.Error("store the cluster id", "err", err)
		}
		n.tellMeta()
	}
}

// Ready reports whether this node may decide: it has applied its log as it
// stood when it started, and has reached a majority since. A node that knows no
// other yet must not take itself for cut off.
func (n *Node) Ready() bool { return n.ready.Load() && n.everHadQuorum() }

// Replayed reports whether this node has applied its log as it stood when it
// started.
func (n *Node) Replayed() bool { return n.ready.Load() }

// MapChanged is the hook of the state machine: this node takes the map over, and
// the leader looks again, soon.
func (n *Node) MapChanged() {
	select {
	case n.owners.applied <- struct{}{}:
	default:
	}
	n.wake()
}

func (n *Node) wake() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}
