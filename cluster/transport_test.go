package cluster

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
	tr := newTransport(pipe{ln}, nil, hclog.NewNullLogger())
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

// TestHeartbeatsTakeTheMainLoop: on the transport's own goroutine they would
// change the term beside it.
func TestHeartbeatsTakeTheMainLoop(t *testing.T) {
	to, from := transportOn(t), transportOn(t)
	var beside sync.WaitGroup
	beside.Add(1)
	safeTransport{NetworkTransport: to}.SetHeartbeatHandler(func(rpc raft.RPC) {
		t.Error("a heartbeat beside the main loop")
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	})
	answered := make(chan error, 1)
	go func() {
		answered <- from.AppendEntries("n1", to.LocalAddr(), &raft.AppendEntriesRequest{RPCHeader: header("n2"), Term: 1}, &raft.AppendEntriesResponse{})
	}()
	select {
	case rpc := <-(safeTransport{NetworkTransport: to}).Consumer():
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
	trans := newSafe(from, func(id raft.ServerID, term uint64, heard func() bool) {
		waiting <- fmt.Sprint(id, " in term ", term, ", heard ", heard())
		<-back
	}, func() bool { return false })
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
	trans := newSafe(from, func(raft.ServerID, uint64, func() bool) { waited++ }, hangs.Load)
	heartbeat := &raft.AppendEntriesRequest{RPCHeader: header("n2"), Term: 7}
	for _, q := range []*raft.AppendEntriesRequest{heartbeat, {RPCHeader: header("n2"), Term: 7, LeaderCommitIndex: 3}} {
		hangs.Store(true)
		if err := trans.AppendEntries("n1", to.LocalAddr(), q, &raft.AppendEntriesResponse{}); !errors.Is(err, errQuiet) {
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
