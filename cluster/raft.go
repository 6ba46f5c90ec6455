package cluster

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// What one request carries at most: so many entries, for a follower syncs its disk once
// for each request, and earlier versions take no more; so many bytes of them, for it
// has 3 s on the slowest link.
const (
	maxAppend      = 256
	maxAppendBytes = 4 << 20
)

// openRaft starts Raft on the disk and the stream layer. It returns the index
// of the last entry in the log as the start found it.
func (n *Node) openRaft() (last uint64, err error) {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.cfg.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout = n.cfg.Timing.Heartbeat, n.cfg.Timing.Heartbeat
	c.LeaderLeaseTimeout, c.CommitTimeout = n.cfg.Timing.Lease, n.cfg.Timing.Commit
	c.MaxAppendEntries = maxAppend
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
	n.transport = newTransport(n.mux, addresses{n}, n.raftLog)
	n.raft, err = raft.NewRaft(c, n.cfg.FSM, stores.Log, stores.Stable, stores.Snapshots, newSafe(n.transport, n.back, n.watchdog.Stalled))
	if err != nil {
		return 0, fmt.Errorf("start raft: %w", err)
	}
	n.started.Store(n.raft)
	return stores.LastIndex, nil
}
