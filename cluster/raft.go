package cluster

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/transport"
)

// maxFollowerWait bounds awaitFollower.
const maxFollowerWait = time.Minute

// openRaft starts Raft on the disk and the stream layer. It returns the index
// of the last entry in the log as the start found it.
func (n *Node) openRaft() (last uint64, err error) {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.cfg.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout = n.cfg.Timing.Heartbeat, n.cfg.Timing.Heartbeat
	c.LeaderLeaseTimeout, c.CommitTimeout = n.cfg.Timing.Lease, n.cfg.Timing.Commit
	c.MaxAppendEntries = transport.MaxAppendEntries
	c.BatchApplyCh = true
	c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 30*time.Second, 20_000, 50_000
	c.ShutdownOnRemove = false
	c.NoLegacyTelemetry = true
	c.Logger = n.raftLog
	stores, err := n.disk.OpenRaft(n.fault, n.cfg.Timing.DiskStall)
	if err != nil {
		return 0, err
	}
	n.hadState, n.watchdog = stores.Existing, stores.Watchdog
	n.wg.Add(1)
	go func() { defer n.wg.Done(); n.watchdog.Run(n.ctx.Done(), n.cfg.Log) }()
	n.transport = transport.NewNetwork(n.mux, addresses{n}, n.raftLog)
	n.raft, err = raft.NewRaft(c, n.cfg.FSM, stores.Log, stores.Stable, stores.Snapshots, transport.NewRaft(n.transport, n.awaitFollower, n.watchdog.Stalled))
	if err != nil {
		return 0, fmt.Errorf("start raft: %w", err)
	}
	n.started.Store(n.raft)
	return stores.LastIndex, nil
}

// awaitFollower is the transport.AwaitFunc of the node. It returns after
// maxFollowerWait at the latest.
func (n *Node) awaitFollower(id raft.ServerID, term uint64, heard func() bool) {
	t := time.NewTicker(n.cfg.Timing.Ping)
	defer t.Stop()
	for range maxFollowerWait / n.cfg.Timing.Ping {
		own := n.started.Load()
		leads := own != nil && own.State() == raft.Leader && own.CurrentTerm() == term
		reachable := n.Reachable(string(id)) && !n.watchdog.Stalled()
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
