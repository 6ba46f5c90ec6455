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

	"quorate/cluster/storage"
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

// TestARequestFitsASlowLink: Raft counts entries only, and goes on behind those that
// a request still has once it is sent.
func TestARequestFitsASlowLink(t *testing.T) {
	to, from := transportOn(t), transportOn(t)
	trans := newSafe(from, func(raft.ServerID, uint64, func() bool) {}, func() bool { return false })
	for name, c := range map[string]struct{ entries, size, want int }{
		"small ones": {maxAppend, 100, maxAppend},
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

// BenchmarkCatchUp adds a node to a cluster whose log has 20,000 entries of 300 bytes.
func BenchmarkCatchUp(b *testing.B) {
	const entries = 20_000
	for _, most := range []int{64, maxAppend} {
		b.Run(fmt.Sprintf("entries=%d", most), func(b *testing.B) {
			start := func(id string) (*raft.Raft, *raft.NetworkTransport) {
				ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				d, err := storage.Open(b.TempDir(), id, storage.Options{})
				if err != nil {
					b.Fatal(err)
				}
				c := raft.DefaultConfig()
				c.LocalID, c.Logger, c.MaxAppendEntries, c.TrailingLogs = raft.ServerID(id), hclog.NewNullLogger(), most, entries
				c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
				tr := newTransport(pipe{ln}, nil, hclog.NewNullLogger())
				safe := newSafe(tr, func(raft.ServerID, uint64, func() bool) {}, func() bool { return false })
				log := d.Log()
				snapshots := raft.NewInmemSnapshotStore()
				if id == "n1" {
					servers := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: tr.LocalAddr()}}}
					if err := raft.BootstrapCluster(c, log, log, snapshots, safe, servers); err != nil {
						b.Fatal(err)
					}
				}
				r, err := raft.NewRaft(c, &raft.MockFSM{}, log, log, snapshots, safe)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _, _, _ = r.Shutdown().Error(), tr.Close(), d.Close() })
				return r, tr
			}
			leader, _ := start("n1")
			<-leader.LeaderCh()
			var last raft.ApplyFuture
			for range entries {
				last = leader.Apply(make([]byte, 300), 0)
			}
			if err := last.Error(); err != nil {
				b.Fatal(err)
			}
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				id := fmt.Sprint("f", i)
				follower, tr := start(id)
				b.StartTimer()
				if err := leader.AddNonvoter(raft.ServerID(id), tr.LocalAddr(), 0, 0).Error(); err != nil {
					b.Fatal(err)
				}
				for follower.AppliedIndex() < last.Index() {
					time.Sleep(time.Millisecond)
				}
				b.StopTimer()
				if err := leader.RemoveServer(raft.ServerID(id), 0, 0).Error(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

func header(id string) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(id), Addr: []byte(id)}
}
