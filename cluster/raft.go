package cluster

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/transport"
)

// maxFollowerWait bounds awaitFollower.
const maxFollowerWait = time.Minute

// openRaft starts Raft on the disk and the peer port.
func (n *Node) openRaft() error {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.cfg.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout = n.cfg.Timing.Heartbeat, n.cfg.Timing.Heartbeat
	c.LeaderLeaseTimeout, c.CommitTimeout = n.cfg.Timing.LeaderLease, n.cfg.Timing.Commit
	c.MaxAppendEntries = transport.MaxAppendEntries
	c.BatchApplyCh = true
	c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 30*time.Second, 20_000, 50_000
	c.ShutdownOnRemove = false
	c.NoLegacyTelemetry = true
	c.Logger = n.raftIO.logger
	stores, err := n.disk.OpenRaft(n.fault, n.cfg.Timing.DiskStall)
	if err != nil {
		return err
	}
	io := &n.raftIO
	io.watchdog = stores.Watchdog
	n.wg.Add(1)
	go func() { defer n.wg.Done(); io.watchdog.Run(n.ctx.Done(), n.cfg.Log) }()
	io.transport = transport.NewNetwork(n.mux, addresses{n}, io.logger)
	safe := transport.NewRaft(io.transport, n.awaitFollower, io.watchdog.Stalled, n.maySend)
	n.raft, err = raft.NewRaft(c, n.cfg.FSM, stores.Log, stores.Stable, stores.Snapshots, safe)
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	io.started.Store(n.raft)
	n.startup.lastIndex = stores.LastIndex
	n.startup.formed.Store(stores.Existing)
	n.startup.serving.Store(true)
	return nil
}

// awaitFollower is the transport.AwaitFunc of the node. It returns after
// maxFollowerWait at the latest.
func (n *Node) awaitFollower(id raft.ServerID, term uint64, heard func() bool) {
	t := time.NewTicker(n.cfg.Timing.Ping)
	defer t.Stop()
	for range maxFollowerWait / n.cfg.Timing.Ping {
		own := n.raftIO.started.Load()
		leads := own != nil && own.State() == raft.Leader && own.CurrentTerm() == term
		reachable := n.Reachable(string(id)) && !n.raftIO.watchdog.Stalled()
		if n.peers.get(string(id)) == nil || reachable || heard() || !leads {
			return
		}
		select {
		case <-t.C:
		case <-n.ctx.Done():
			return
		}
	}
}
