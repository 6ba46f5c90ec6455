package transport

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	// MaxAppendEntries is how many entries a leader sends in one request. A follower
	// syncs its disk once for each request.
	MaxAppendEntries = 256
	// maxAppendBytes bounds the size of those entries: the slowest link has
	// requestTimeout to transfer them.
	maxAppendBytes = 4 << 20

	requestTimeout = 3 * time.Second
	maxPooledConns = 3 // to one node
)

// NewNetwork returns Raft's network transport on a stream layer.
func NewNetwork(stream raft.StreamLayer, addresses raft.ServerAddressProvider, logger hclog.Logger) *raft.NetworkTransport {
	// One request in flight disables pipelining: with a pipeline a follower can be left
	// without replication while its heartbeats look healthy (hashicorp/raft#612).
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: stream, MaxPool: maxPooledConns, MaxRPCsInFlight: 1, Timeout: requestTimeout,
		Logger: logger, MsgpackUseNewTimeFormat: true, ServerAddressProvider: addresses,
	})
}

// Raft is Raft's network transport with five changes. Heartbeats are not handled on
// the transport's own goroutine, where they would change the term concurrently with
// Raft's main loop (hashicorp/raft#695). Raft does not back off from a follower that
// is reachable again. A request is no larger than a slow link can transfer.
// Nothing is sent to followers while the own disk is stalled. And nothing is sent to a
// node that has not permitted this boot.
type Raft struct {
	*raft.NetworkTransport
	await   AwaitFunc
	beats   *sync.Map // heartbeats that were answered, by node id: *atomic.Uint64
	stalled func() bool
	permit  PermitFunc
}

// PermitFunc waits for a moment until Raft may send to a node, and returns an error if it
// may not yet.
type PermitFunc func(id raft.ServerID) error

// AwaitFunc is called after a request to a follower failed. It returns once the
// follower is reachable and the own disk responds, or once there is no reason to wait:
// heard reports that a heartbeat has reached the follower, or this node no longer
// leads in the term.
type AwaitFunc func(id raft.ServerID, term uint64, heard func() bool)

var errStalled = errors.New("nothing is sent to followers while the own disk is stalled")

// NewRaft returns a Raft transport on t. stalled reports whether the own disk is
// stalled.
func NewRaft(t *raft.NetworkTransport, await AwaitFunc, stalled func() bool, permit PermitFunc) Raft {
	return Raft{NetworkTransport: t, await: await, beats: new(sync.Map), stalled: stalled, permit: permit}
}

// SetHeartbeatHandler implements raft.Transport. It does nothing, so that every
// request is handled by the main loop.
func (Raft) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntries implements raft.Transport. After a failure it returns only when the
// follower is reachable again, because Raft doubles its wait after each failure, up to
// 10 s, and heartbeats that succeed meanwhile do not end it. Heartbeats have a wait of
// their own, at most half a heartbeat timeout, and fail at once. While the own disk is
// stalled every request fails without being sent: this node can store nothing, and a
// follower that hears of it does not elect another leader.
func (t Raft) AppendEntries(id raft.ServerID, target raft.ServerAddress, q *raft.AppendEntriesRequest, a *raft.AppendEntriesResponse) error {
	q.Entries = truncate(q.Entries) // Raft continues after the entries that were sent
	err := errStalled
	if !t.stalled() {
		err = t.permit(id)
	}
	if err == nil {
		err = t.NetworkTransport.AppendEntries(id, target, q, a)
	}
	// The condition by which raft.NetworkTransport recognizes heartbeats.
	heartbeat := q.PrevLogEntry == 0 && q.PrevLogTerm == 0 && len(q.Entries) == 0 && q.LeaderCommitIndex == 0
	switch {
	case heartbeat && err == nil:
		t.beatsOf(id).Add(1)
	case !heartbeat && err != nil:
		t.awaitFollower(id, q.Term)
	}
	return err
}

// truncate returns the entries that fit into one request, at least one.
func truncate(entries []*raft.Log) []*raft.Log {
	size := 0
	for i, e := range entries {
		if size += len(e.Data) + len(e.Extensions); size > maxAppendBytes && i > 0 {
			return entries[:i]
		}
	}
	return entries
}

func (t Raft) beatsOf(id raft.ServerID) *atomic.Uint64 {
	n, _ := t.beats.LoadOrStore(id, new(atomic.Uint64))
	return n.(*atomic.Uint64)
}

func (t Raft) awaitFollower(id raft.ServerID, term uint64) {
	n := t.beatsOf(id)
	before := n.Load()
	t.await(id, term, func() bool { return n.Load() != before })
}

// InstallSnapshot implements raft.Transport. After a failure it waits like
// AppendEntries: it replaces entries that the log no longer has.
func (t Raft) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, q *raft.InstallSnapshotRequest, a *raft.InstallSnapshotResponse, data io.Reader) error {
	err := t.permit(id)
	if err == nil {
		err = t.NetworkTransport.InstallSnapshot(id, target, q, a, data)
	}
	if err != nil {
		t.awaitFollower(id, q.Term)
	}
	return err
}

// RequestVote implements raft.Transport.
func (t Raft) RequestVote(id raft.ServerID, target raft.ServerAddress, q *raft.RequestVoteRequest, a *raft.RequestVoteResponse) error {
	if err := t.permit(id); err != nil {
		return err
	}
	return t.NetworkTransport.RequestVote(id, target, q, a)
}

// RequestPreVote implements raft.WithPreVote.
func (t Raft) RequestPreVote(id raft.ServerID, target raft.ServerAddress, q *raft.RequestPreVoteRequest, a *raft.RequestPreVoteResponse) error {
	if err := t.permit(id); err != nil {
		return err
	}
	return t.NetworkTransport.RequestPreVote(id, target, q, a)
}

// TimeoutNow implements raft.Transport.
func (t Raft) TimeoutNow(id raft.ServerID, target raft.ServerAddress, q *raft.TimeoutNowRequest, a *raft.TimeoutNowResponse) error {
	if err := t.permit(id); err != nil {
		return err
	}
	return t.NetworkTransport.TimeoutNow(id, target, q, a)
}
