package storage

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const patience = 30 * time.Second

// within waits for a condition.
func within(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// raftNode is a Raft node in memory, with the stores of a real one.
type raftNode struct {
	raft  *raft.Raft
	trans *raft.InmemTransport
	inner *raft.InmemStore
	fsm   *raft.MockFSM
	fault *Fault
}

type raftOptions struct {
	id     string
	voters []string
	store  Store // instead of a new one
	bare   bool  // without the wrapping stores
	empty  bool  // without a configuration
	fault  *Fault
	timing time.Duration
}

func startRaft(t *testing.T, o raftOptions) *raftNode {
	t.Helper()
	n := &raftNode{inner: raft.NewInmemStore(), fsm: &raft.MockFSM{}}
	_, n.trans = raft.NewInmemTransport(raft.ServerAddress(o.id))
	if o.fault == nil {
		o.fault = NewFault()
	}
	n.fault = o.fault
	if o.timing == 0 {
		o.timing = time.Hour // no node campaigns
	}
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(o.id)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = o.timing, o.timing, o.timing/2
	c.CommitTimeout = 5 * time.Millisecond
	c.TrailingLogs = 1 << 20
	c.Logger = hclog.NewNullLogger()
	var logs raft.LogStore = n.inner
	var stable raft.StableStore = n.inner
	var snapshots raft.SnapshotStore = raft.NewInmemSnapshotStore()
	if o.store != nil {
		logs, stable = o.store, o.store
	}
	if !o.bare {
		s := Store(n.inner)
		if o.store != nil {
			s = o.store
		}
		g := NewWatchdog(s, o.fault, 200*time.Millisecond)
		done := make(chan struct{})
		go g.Run(done, slog.New(slog.DiscardHandler))
		t.Cleanup(func() { close(done) })
		log := &alignedLog{LogStore: g, fault: o.fault}
		logs, stable, snapshots = log, NewVoteStore(g), aligningSnapshots{snapshots, log}
	}
	if last, err := logs.LastIndex(); err == nil && last == 0 && !o.empty {
		var servers raft.Configuration
		for _, id := range o.voters {
			servers.Servers = append(servers.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
		}
		if err := raft.BootstrapCluster(c, logs, stable, snapshots, n.trans, servers); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if n.raft, err = raft.NewRaft(c, n.fsm, logs, stable, snapshots, n.trans); err != nil {
		t.Fatal(err)
	}
	return n
}

// stop shuts the node down. Its disk must respond.
func (n *raftNode) stop(t *testing.T) {
	t.Helper()
	if err := n.raft.Shutdown().Error(); err != nil {
		t.Error(err)
	}
}

// ask sends one request to a node, as another node would.
func ask[T any](t *testing.T, n *raftNode, request any, data []byte) (*T, error) {
	t.Helper()
	_, from := raft.NewInmemTransport("asker")
	from.Connect(n.trans.LocalAddr(), n.trans)
	var out any
	var err error
	switch q := request.(type) {
	case *raft.RequestVoteRequest:
		r := &raft.RequestVoteResponse{}
		out, err = r, from.RequestVote("", n.trans.LocalAddr(), q, r)
	case *raft.AppendEntriesRequest:
		r := &raft.AppendEntriesResponse{}
		out, err = r, from.AppendEntries("", n.trans.LocalAddr(), q, r)
	case *raft.InstallSnapshotRequest:
		r := &raft.InstallSnapshotResponse{}
		out, err = r, from.InstallSnapshot("", n.trans.LocalAddr(), q, r, bytes.NewReader(data))
	}
	return out.(*T), err
}

func header(id string) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(id), Addr: []byte(id)}
}
