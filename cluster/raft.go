package cluster

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/logs"
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
	logger := logs.Raft(n.cfg.Log.With("part", "raft"))
	c.Logger = logger

	snapshots, err := raft.NewFileSnapshotStoreWithLogger(n.cfg.DataDir, 2, logger)
	if err != nil {
		return 0, fmt.Errorf("%w: open snapshots: %w", ErrDataDir, err)
	}
	if n.hadState, err = raft.HasExistingState(n.disk.log, n.disk.log, snapshots); err != nil {
		return 0, fmt.Errorf("%w: read log: %w", ErrDataDir, err)
	}
	if last, err = n.disk.log.LastIndex(); err != nil {
		return 0, fmt.Errorf("%w: read log: %w", ErrDataDir, err)
	}
	list, err := snapshots.List()
	if err != nil {
		return 0, fmt.Errorf("%w: list snapshots: %w", ErrDataDir, err)
	}
	var snapshot, term uint64
	if len(list) > 0 {
		snapshot, term = list[0].Index, list[0].Term
		last = max(last, snapshot)
	}
	if err := (sealed{n.disk.log}).check(snapshot, term); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	// Raft reads and writes through these, from the outside in: what a snapshot
	// contradicts is hidden, the last entries are at hand, and the disk is watched.
	n.guard = newGuard(sealed{n.disk.log}, n.fault, n.cfg.Timing.DiskStall)
	n.wg.Add(1)
	go func() { defer n.wg.Done(); n.guard.watch(n.ctx.Done(), n.cfg.Log) }()
	cache, err := raft.NewLogCache(1024, n.guard)
	if err != nil {
		return 0, err
	}
	log := &trimmed{LogStore: cache}
	if len(list) > 0 { // the last life may have ended before it came to this
		if err := log.follow(list[0].Index, list[0].Term); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrDataDir, err)
		}
	}
	log.fault = n.fault
	n.transport = newTransport(n.mux, addresses{n}, logger)
	n.raft, err = raft.NewRaft(c, n.cfg.FSM, log, &voteStore{StableStore: n.guard}, followed{snapshots, log}, newSafe(n.transport, n.back, n.guard.hanging.Load))
	if err != nil {
		return 0, fmt.Errorf("start raft: %w", err)
	}
	n.started.Store(n.raft)
	return last, nil
}
