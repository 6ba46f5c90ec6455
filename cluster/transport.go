package cluster

import (
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// safeTransport keeps heartbeats off the transport's own goroutine, where they
// would change the term beside Raft's main loop (hashicorp/raft#695), and does not
// let Raft sleep over the return of a follower.
type safeTransport struct {
	*raft.NetworkTransport
	// back waits until a node is reached, if it is not, or until who leads in a
	// term need not wait for it.
	back func(id raft.ServerID, term uint64)
}

// SetHeartbeatHandler does nothing, so that every request takes the main loop.
func (safeTransport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntries fails, where a follower is not reached, when it is again. Raft
// waits after each failure for twice as long, up to 10 s, before it sends entries
// again, and nothing wakes it: heartbeats that get through do not. They have a
// wait of their own, half a time-out at most, and fail at once.
func (t safeTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, q *raft.AppendEntriesRequest, a *raft.AppendEntriesResponse) error {
	err := t.NetworkTransport.AppendEntries(id, target, q, a)
	// As the transport itself tells heartbeats.
	heartbeat := q.PrevLogEntry == 0 && q.PrevLogTerm == 0 && len(q.Entries) == 0 && q.LeaderCommitIndex == 0
	if err != nil && !heartbeat {
		t.back(id, q.Term)
	}
	return err
}

// InstallSnapshot fails, where a follower is not reached, when it is again: in place
// of entries that the log has no more, with the same waits.
func (t safeTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, q *raft.InstallSnapshotRequest, a *raft.InstallSnapshotResponse, data io.Reader) error {
	err := t.NetworkTransport.InstallSnapshot(id, target, q, a, data)
	if err != nil {
		t.back(id, q.Term)
	}
	return err
}

// backWithin bounds the wait for a follower: it may answer Raft and not pings.
const backWithin = time.Minute

// back is that of safeTransport.
func (n *Node) back(id raft.ServerID, term uint64) {
	t := time.NewTicker(n.cfg.Timing.Ping)
	defer t.Stop()
	for range backWithin / n.cfg.Timing.Ping {
		r, own := n.peers.get(string(id)), n.started.Load()
		if r == nil || r.missed.Load() < unreachable || own == nil || own.State() != raft.Leader || own.CurrentTerm() != term {
			return
		}
		select {
		case <-t.C:
		case <-n.ctx.Done():
			return
		}
	}
}

func newTransport(stream raft.StreamLayer, addresses raft.ServerAddressProvider, logger hclog.Logger) *raft.NetworkTransport {
	// One request under way: on a pipeline of two a follower can be left without
	// replication while its heartbeats look healthy (hashicorp/raft#612).
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: stream, MaxPool: 3, MaxRPCsInFlight: 1, Timeout: 3 * time.Second,
		Logger: logger, MsgpackUseNewTimeFormat: true, ServerAddressProvider: addresses,
	})
}
