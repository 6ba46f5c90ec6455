package cluster

import (
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// safeTransport keeps heartbeats off the transport's own goroutine, where they
// would change the term beside Raft's main loop (hashicorp/raft#695).
type safeTransport struct{ *raft.NetworkTransport }

// SetHeartbeatHandler does nothing, so that every request takes the main loop.
func (safeTransport) SetHeartbeatHandler(func(raft.RPC)) {}

// openRaft starts Raft on the disk and the stream layer. It returns the index
// of the last entry in the log as the start found it.
func (n *Node) openRaft() (last uint64, err error) {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.cfg.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout = n.cfg.Timing.Heartbeat, n.cfg.Timing.Heartbeat
	c.LeaderLeaseTimeout, c.CommitTimeout = n.cfg.Timing.Lease, n.cfg.Timing.Commit
	c.MaxAppendEntries = 256
	c.BatchApplyCh = true
	c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 30*time.Second, 20_000, 50_000
	c.ShutdownOnRemove = false
	c.NoLegacyTelemetry = true
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Info})
	logger.RegisterSink(hclogSink{n.cfg.Log.With("part", "raft")})
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
	if list, err := snapshots.List(); err == nil && len(list) > 0 {
		last = max(last, list[0].Index)
	}
	cache, err := raft.NewLogCache(1024, n.disk.log)
	if err != nil {
		return 0, err
	}
	// One request under way on a pipeline: with two, a follower can be left
	// without replication while its heartbeats look healthy (hashicorp/raft#612).
	n.transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: n.mux, MaxPool: 3, MaxRPCsInFlight: 1, Timeout: 3 * time.Second,
		Logger: logger, MsgpackUseNewTimeFormat: true,
	})
	n.raft, err = raft.NewRaft(c, n.cfg.FSM, cache, n.disk.log, snapshots, safeTransport{n.transport})
	if err != nil {
		return 0, fmt.Errorf("start raft: %w", err)
	}
	return last, nil
}
