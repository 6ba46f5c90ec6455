package cluster

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"quorate/cluster/peer"
)

// TestASilentNodeIsDialledAgain: a connection whose bytes a cut link has swallowed
// stays silent for long after the link is back.
func TestASilentNodeIsDialledAgain(t *testing.T) {
	n := &Node{
		cfg:  Config{NodeID: "n1", Timing: DefaultTiming(), Now: func() time.Duration { return 0 }},
		boot: 1,
	}
	n.owners.init()
	ctx, cancel := context.WithCancel(context.Background())
	n.ctx, n.cancel = ctx, cancel
	var dials atomic.Int32
	r := &remote{client: peer.NewClient(func(context.Context) (net.Conn, error) {
		dials.Add(1)
		conn, other := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, other) }() // until the client closes
		return conn, nil
	})}
	n.peers.clients = map[string]*remote{"n2": r}
	t.Cleanup(func() {
		cancel()
		n.wg.Wait()
		n.peers.close()
	})
	within(t, "another connection", func() bool {
		n.peers.pingAll(n, true)
		return dials.Load() > 1
	})
}

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
