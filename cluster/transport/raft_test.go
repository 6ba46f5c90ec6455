package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

type pipe struct {
	net.Listener
}

func (p pipe) Dial(addr raft.ServerAddress, within time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(addr), within)
}

func transportOn(t *testing.T) *raft.NetworkTransport {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr := NewNetwork(pipe{ln}, nil, hclog.NewNullLogger())
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

// TestHeartbeatsTakeTheMainLoop: on the transport's own goroutine they would
// change the term beside it.
func TestHeartbeatsTakeTheMainLoop(t *testing.T) {
	to, from := transportOn(t), transportOn(t)
	var beside sync.WaitGroup
	beside.Add(1)
	Raft{NetworkTransport: to}.SetHeartbeatHandler(func(rpc raft.RPC) {
		t.Error("a heartbeat beside the main loop")
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	})
	answered := make(chan error, 1)
	go func() {
		answered <- from.AppendEntries("n1", to.LocalAddr(), &raft.AppendEntriesRequest{RPCHeader: header("n2"), Term: 1}, &raft.AppendEntriesResponse{})
	}()
	select {
	case rpc := <-(Raft{NetworkTransport: to}).Consumer():
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
		if err := <-answered; err != nil {
			t.Error(err)
		}
	case err := <-answered:
		t.Errorf("answered without the main loop: %v", err)
	}
}

// TestAFailedFollowerIsWaitedFor: Raft would sleep for up to 10 s while it is back.
func TestAFailedFollowerIsWaitedFor(t *testing.T) {
	to, from := transportOn(t), transportOn(t)
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	waiting, back := make(chan string), make(chan struct{})
	trans := NewRaft(from, func(id raft.ServerID, term uint64, heard func() bool) {
		waiting <- fmt.Sprint(id, " in term ", term, ", heard ", heard())
		<-back
	}, func() bool { return false }, anyone)
	send := func(q raft.AppendEntriesRequest) chan error {
		q.RPCHeader, q.Term = header("n2"), 7
		failed := make(chan error, 1)
		go func() { failed <- trans.AppendEntries("n1", to.LocalAddr(), &q, &raft.AppendEntriesResponse{}) }()
		return failed
	}
	if err := <-send(raft.AppendEntriesRequest{}); err == nil {
		t.Error("a heartbeat to nobody has succeeded")
	}
	failed := send(raft.AppendEntriesRequest{PrevLogEntry: 5, PrevLogTerm: 7})
	if who := <-waiting; who != "n1 in term 7, heard false" {
		t.Errorf("waits for %s", who)
	}
	select {
	case err := <-failed:
		t.Errorf("failed before the follower was back: %v", err)
	default:
	}
	close(back)
	if err := <-failed; err == nil {
		t.Error("entries to nobody have been taken")
	}
}

// TestALeaderWhoseDiskHangsIsNotHeard: its heartbeats would have the others wait for
// a leader that can acknowledge nothing.
func TestALeaderWhoseDiskHangsIsNotHeard(t *testing.T) {
	to, from := transportOn(t), transportOn(t)
	var hangs atomic.Bool
	waited := 0
	trans := NewRaft(from, func(raft.ServerID, uint64, func() bool) { waited++ }, hangs.Load, anyone)
	heartbeat := &raft.AppendEntriesRequest{RPCHeader: header("n2"), Term: 7}
	for _, q := range []*raft.AppendEntriesRequest{heartbeat, {RPCHeader: header("n2"), Term: 7, LeaderCommitIndex: 3}} {
		hangs.Store(true)
		if err := trans.AppendEntries("n1", to.LocalAddr(), q, &raft.AppendEntriesResponse{}); !errors.Is(err, errStalled) {
			t.Errorf("%v", err)
		}
		hangs.Store(false)
		failed := make(chan error, 1)
		go func() { failed <- trans.AppendEntries("n1", to.LocalAddr(), q, &raft.AppendEntriesResponse{}) }()
		rpc := <-to.Consumer()
		if got := rpc.Command.(*raft.AppendEntriesRequest).LeaderCommitIndex; got != q.LeaderCommitIndex {
			t.Errorf("what was not to be sent arrived: %d", got)
		}
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if waited != 1 {
		t.Errorf("entries waited %d times, heartbeats must fail at once", waited)
	}
}

func TestReplicationHasNoPipeline(t *testing.T) {
	to, from := transportOn(t), transportOn(t)
	p, err := from.AppendEntriesPipeline("n1", to.LocalAddr())
	if !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("a pipeline %v, %v", p, err)
	}
}

// TestARequestFitsASlowLink: Raft counts entries only, and goes on behind those that
// a request still has once it is sent.
func TestARequestFitsASlowLink(t *testing.T) {
	to, from := transportOn(t), transportOn(t)
	trans := NewRaft(from, func(raft.ServerID, uint64, func() bool) {}, func() bool { return false }, anyone)
	for name, c := range map[string]struct{ entries, size, want int }{
		"small ones": {MaxAppendEntries, 100, MaxAppendEntries},
		"large ones": {20, 1 << 20, 4},
		"a huge one": {2, maxAppendBytes + 1, 1},
		"none":       {0, 0, 0},
	} {
		q := &raft.AppendEntriesRequest{RPCHeader: header("n2"), Term: 7, LeaderCommitIndex: 3}
		for i := range c.entries {
			q.Entries = append(q.Entries, &raft.Log{Index: uint64(i + 1), Data: make([]byte, c.size)})
		}
		failed := make(chan error, 1)
		go func() { failed <- trans.AppendEntries("n1", to.LocalAddr(), q, &raft.AppendEntriesResponse{}) }()
		rpc := <-to.Consumer()
		got := len(rpc.Command.(*raft.AppendEntriesRequest).Entries)
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
		if err := <-failed; err != nil || got != c.want || len(q.Entries) != c.want {
			t.Errorf("%s: %d arrived, %d are left, want %d: %v", name, got, len(q.Entries), c.want, err)
		}
	}
}

func header(id string) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(id), Addr: []byte(id)}
}

// anyone permits every node.
func anyone(raft.ServerID) error { return nil }

// TestNothingReachesANodeThatHasNotPermittedThisBoot: neither votes nor entries count
// there.
func TestNothingReachesANodeThatHasNotPermittedThisBoot(t *testing.T) {
	to, from := transportOn(t), transportOn(t)
	refused := errors.New("not yet")
	trans := NewRaft(from, func(raft.ServerID, uint64, func() bool) {}, func() bool { return false }, func(id raft.ServerID) error {
		if id != "n1" {
			t.Errorf("asked for %s", id)
		}
		return refused
	})
	for what, err := range map[string]error{
		"entries":    trans.AppendEntries("n1", to.LocalAddr(), &raft.AppendEntriesRequest{}, &raft.AppendEntriesResponse{}),
		"a vote":     trans.RequestVote("n1", to.LocalAddr(), &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{}),
		"a pre-vote": trans.RequestPreVote("n1", to.LocalAddr(), &raft.RequestPreVoteRequest{}, &raft.RequestPreVoteResponse{}),
		"a snapshot": trans.InstallSnapshot("n1", to.LocalAddr(), &raft.InstallSnapshotRequest{}, &raft.InstallSnapshotResponse{}, nil),
		"leadership": trans.TimeoutNow("n1", to.LocalAddr(), &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{}),
	} {
		if !errors.Is(err, refused) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
