package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"quorate/cluster/logs"
	"quorate/cluster/peer"
	"quorate/cluster/storage"
	"quorate/cluster/transport"
	"quorate/fsm/ledger"
)

// Node is this process's part in the cluster. Its methods may be called concurrently.
type Node struct {
	cfg   Config
	fault *storage.Fault // of the disk, or of the node's membership

	// The disk, which Open opens first.
	disk     *storage.Dir
	identity *storage.Identity
	boot     uint64 // number of this boot

	// The network.
	mux    *transport.Mux
	gossip gossip
	peers  peers

	// Raft.
	raft      *raft.Raft
	raftIO    raftIO
	startup   startup
	confirmed atomic.Uint64 // term in which this leader has committed an entry

	owners owners
	clock  clock

	writes    chan *write
	forwarded atomic.Pointer[forwarded] // on its way to the leader; nil: none
	kick      chan struct{}             // wakes leaderLoop

	removed    atomic.Bool // from the cluster, by order
	removedErr chan error

	// Diverged counts how often another node's state was found to differ.
	Diverged atomic.Uint64

	ctx     context.Context // ends when the node shuts down
	cancel  context.CancelFunc
	wg      sync.WaitGroup // of the node's loops
	closing sync.Once
}

// raftIO is what Raft runs on. openRaft sets it.
type raftIO struct {
	logger    hclog.Logger
	transport *raft.NetworkTransport
	watchdog  *storage.Watchdog
	started   atomic.Pointer[raft.Raft] // Node.raft, for functions that Raft calls while it starts
}

// startup is how far the start of a node has come.
type startup struct {
	lastIndex uint64      // of the log when the node started
	serving   atomic.Bool // Raft runs; before, the peer port answers errStarting
	formed    atomic.Bool // there is Raft state: the node is in a cluster
	replayed  atomic.Bool // the log has been applied up to lastIndex
	gate      gate
}

// Open starts the node and takes over cfg.Peer. Its errors wrap storage.ErrDataDir or
// ErrAddress if the data directory or an address cannot be used, ErrStale if another
// node does not let this boot take part.
//
// The order is: the disk, because it says whether the process may be this node; the
// sockets of gossip, which are cheap to bind and whose address may be taken; the peer
// port, because nodes that still consider this one the leader send it writes and are
// to be answered at once; Raft, which may take long to read its log; the question to
// the other nodes whether this boot may take part, before any of them takes it for the
// node's next; gossip, because nodes that hear of this one send requests immediately;
// and the loops, which use all of these.
func Open(cfg Config) (_ *Node, err error) {
	cfg.setDefaults()
	n := &Node{cfg: cfg, fault: storage.NewFault(), writes: make(chan *write, maxQueued), kick: make(chan struct{}, 1), removedErr: make(chan error, 1)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.gossip.metaChanged = make(chan struct{}, 1)
	n.peers.clients = map[string]*remote{}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.shutdown())
		}
	}()
	if err = n.openDisk(); err != nil {
		return nil, err
	}
	n.initGate()
	n.owners.init(ledger.Member{ID: cfg.NodeID, Boot: n.boot}, cfg.Timing.ownership())
	if _, err = n.meta().encode(); err != nil {
		return nil, fmt.Errorf("%w: advertised addresses: %w", ErrAddress, err)
	}
	if n.gossip.keys, err = keyring(cfg.GossipKeys); err != nil {
		return nil, err
	}
	if err = n.bindGossip(); err != nil {
		return nil, err
	}
	n.mux = transport.NewMux(n.ctx, transport.Config{
		Listener: cfg.Peer, Advertise: cfg.AdvertisePeer, TLS: cfg.TLS, NodeID: cfg.NodeID,
		Identity: n.identity, Server: peer.NewServer(handler{n}), Permit: n.mayReceive, Log: cfg.Log,
	})
	if err = n.openRaft(); err != nil {
		return nil, err
	}
	if err = n.openGate(); err != nil {
		return nil, err
	}
	if err = n.askFirst(); err != nil {
		return nil, err
	}
	if err = n.openGossip(); err != nil {
		return nil, err
	}
	for _, loop := range []func(){n.faultLoop, n.tickLoop, n.ownershipLoop, n.writeLoop, n.leaderLoop, n.metaLoop, n.joinLoop, n.gateLoop} {
		n.wg.Add(1)
		go func() { defer n.wg.Done(); loop() }()
	}
	return n, nil
}

func (n *Node) openDisk() (err error) {
	n.raftIO.logger = logs.Raft(n.cfg.Log.With("part", "raft"))
	if n.disk, err = storage.Open(n.cfg.DataDir, n.cfg.NodeID, storage.Options{Logger: n.raftIO.logger, NoSync: noFsync}); err != nil {
		return err
	}
	n.boot = n.disk.Boot()
	n.identity, err = n.disk.Identity()
	return err
}

// Close transfers leadership if the node has it, stops everything and waits until ctx
// ends. The node remains a member.
func (n *Node) Close(ctx context.Context) error {
	var err error
	n.closing.Do(func() {
		if n.fault.Err() == nil {
			// Leadership is transferred only here and by order: an interrupted transfer can
			// leave a leader that refuses writes for good (hashicorp/raft#696).
			n.stepDown(ctx)
		}
		err = n.shutdownWithin(ctx)
	})
	return err
}

// Failed returns a channel that delivers the error that the node cannot continue from.
// The process should then close the node and exit.
func (n *Node) Failed() <-chan error { return n.fault.Failed() }

// Broken reports whether there is such an error.
func (n *Node) Broken() bool { return n.fault.Err() != nil }

// faultLoop disconnects a node that cannot continue from the other nodes' Raft, at
// once: shutdown may hang with the disk.
func (n *Node) faultLoop() {
	select {
	case <-n.fault.Done():
		n.cfg.Log.Error("this node stops", "err", n.fault.Err())
		_ = n.raftIO.transport.Close() // the fault is the error that is reported
		n.raftIO.transport.CloseStreams()
	case <-n.ctx.Done():
	}
}

// shutdownWithin waits until ctx ends: shutdown does not end while the disk hangs.
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

// shutdown closes what Open has opened, in the reverse order: the loops, which use
// everything else; gossip; Raft, and its transport only when Raft no longer uses it;
// the peer port with its server, whose handlers use the clients of the other nodes;
// those; and last the disk, which Raft writes to until it has ended, and whose lock
// admits the next process.
func (n *Node) shutdown() error {
	var errs []error
	closed := func(err error) {
		if !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	n.cancel()
	n.wg.Wait()
	closed(n.gossip.close())
	if n.raft != nil {
		closed(n.raft.Shutdown().Error())
	}
	if n.raftIO.transport != nil {
		closed(n.raftIO.transport.Close())
	}
	if n.mux != nil {
		closed(n.mux.Shutdown())
	} else {
		closed(n.cfg.Peer.Close())
	}
	n.peers.close()
	if n.disk != nil {
		closed(n.disk.Close())
	}
	return errors.Join(errs...)
}
