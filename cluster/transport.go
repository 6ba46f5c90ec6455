package cluster

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// safeTransport keeps heartbeats off the transport's own goroutine, where they
// would change the term beside Raft's main loop (hashicorp/raft#695), does not let
// Raft sleep over the return of a follower, sends no more at once than a slow link
// takes, and neither heartbeats nor entries while the own disk hangs.
type safeTransport struct {
	*raft.NetworkTransport
	// back waits until a node is reached and the own disk answers, or until who leads
	// in a term need not wait for it. heard says whether a heartbeat has reached the
	// node since.
	back  func(id raft.ServerID, term uint64, heard func() bool)
	beats *sync.Map   // heartbeats that were answered, by id: *atomic.Uint64
	quiet func() bool // the own disk hangs
}

var errQuiet = errors.New("neither heartbeats nor entries are sent while the own disk hangs")

// newSafe returns one that waits as back does, and sends no heartbeats and no entries
// while it is to be quiet.
func newSafe(t *raft.NetworkTransport, back func(raft.ServerID, uint64, func() bool), quiet func() bool) safeTransport {
	return safeTransport{NetworkTransport: t, back: back, beats: new(sync.Map), quiet: quiet}
}

// SetHeartbeatHandler does nothing, so that every request takes the main loop.
func (safeTransport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntries fails, where a follower is not reached, when it is again. Raft
// waits after each failure for twice as long, up to 10 s, before it sends entries
// again, and nothing wakes it: heartbeats that get through do not. They have a
// wait of their own, half a time-out at most, and fail at once. All fail unsent while
// the leader's disk hangs: it can store nothing, and whoever hears of it waits for it.
func (t safeTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, q *raft.AppendEntriesRequest, a *raft.AppendEntriesResponse) error {
	q.Entries = fit(q.Entries) // Raft goes on behind those that are left
	err := errQuiet
	if !t.quiet() {
		err = t.NetworkTransport.AppendEntries(id, target, q, a)
	}
	// As the transport itself tells heartbeats.
	heartbeat := q.PrevLogEntry == 0 && q.PrevLogTerm == 0 && len(q.Entries) == 0 && q.LeaderCommitIndex == 0
	switch {
	case heartbeat && err == nil:
		t.beatsOf(id).Add(1)
	case !heartbeat && err != nil:
		t.await(id, q.Term)
	}
	return err
}

// fit returns those of some entries that fit into one request, one at least.
func fit(entries []*raft.Log) []*raft.Log {
	size := 0
	for i, e := range entries {
		if size += len(e.Data) + len(e.Extensions); size > maxAppendBytes && i > 0 {
			return entries[:i]
		}
	}
	return entries
}

func (t safeTransport) beatsOf(id raft.ServerID) *atomic.Uint64 {
	n, _ := t.beats.LoadOrStore(id, new(atomic.Uint64))
	return n.(*atomic.Uint64)
}

func (t safeTransport) await(id raft.ServerID, term uint64) {
	n := t.beatsOf(id)
	before := n.Load()
	t.back(id, term, func() bool { return n.Load() != before })
}

// InstallSnapshot fails, where a follower is not reached, when it is again: in place
// of entries that the log has no more, with the same waits.
func (t safeTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, q *raft.InstallSnapshotRequest, a *raft.InstallSnapshotResponse, data io.Reader) error {
	err := t.NetworkTransport.InstallSnapshot(id, target, q, a, data)
	if err != nil {
		t.await(id, q.Term)
	}
	return err
}

// backWithin bounds the wait for a follower, whatever becomes of it.
const backWithin = time.Minute

// back is that of safeTransport.
func (n *Node) back(id raft.ServerID, term uint64, heard func() bool) {
	t := time.NewTicker(n.cfg.Timing.Ping)
	defer t.Stop()
	for range backWithin / n.cfg.Timing.Ping {
		r, own := n.peers.get(string(id)), n.started.Load()
		if r == nil || (n.Reachable(string(id)) && !n.watchdog.Stalled()) || heard() || own == nil || own.State() != raft.Leader || own.CurrentTerm() != term {
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
