package cluster

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"quorate/cluster/storage"
	"quorate/cluster/transport"
)

// dialer is a raft.StreamLayer of plain TCP.
type dialer struct{ net.Listener }

func (dialer) Dial(addr raft.ServerAddress, within time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp", string(addr), within)
}

// BenchmarkCatchUp adds a node to a cluster whose log has 20,000 entries of 300 bytes.
func BenchmarkCatchUp(b *testing.B) {
	const entries = 20_000
	for _, most := range []int{64, transport.MaxAppendEntries} {
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
				tr := transport.NewNetwork(dialer{ln}, nil, hclog.NewNullLogger())
				safe := transport.NewRaft(tr, func(raft.ServerID, uint64, func() bool) {}, func() bool { return false }, func(raft.ServerID) error { return nil })
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
