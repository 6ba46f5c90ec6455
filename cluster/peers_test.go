package cluster

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"quorate/cluster/peer"
	"quorate/fsm/ledger"
)

// TestASilentNodeIsDialledAgain: a connection whose bytes a cut link has swallowed
// stays silent for long after the link is back.
func TestASilentNodeIsDialledAgain(t *testing.T) {
	n := newOwner(t, "n2")
	var dials atomic.Int32
	r := &remote{client: peer.NewClient(func(context.Context) (net.Conn, error) {
		dials.Add(1)
		conn, other := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, other) }() // until the client closes
		return conn, nil
	})}
	n.peers.clients = map[string]*remote{"n2": r}
	n.wg.Add(1)
	go func() { defer n.wg.Done(); n.ownershipLoop() }()
	t.Cleanup(func() {
		n.cancel()
		n.wg.Wait()
		n.peers.close()
	})
	within(t, "another connection", func() bool {
		n.beatAll()
		return dials.Load() > 1
	})
}

// newOwner returns a node that only decides on ownership, and knows others by
// their ids.
func newOwner(t *testing.T, others ...string) *Node {
	t.Helper()
	n := &Node{
		cfg: Config{
			NodeID: "n1", Timing: DefaultTiming(), Now: func() time.Duration { return 0 }, FSM: emptyFSM{}, Log: slog.New(slog.DiscardHandler),
		},
		boot: 1,
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	t.Cleanup(n.cancel)
	n.owners.init(ledger.Member{ID: "n1", Boot: 1}, n.cfg.Timing.ownership())
	n.owners.node.SetPeers(others)
	n.owners.publishLocked()
	return n
}

// emptyFSM has applied nothing.
type emptyFSM struct{ FSM }

func (emptyFSM) Map() *ledger.Map { return &ledger.Map{} }

// TestAMapAdoptedWhileTheNodeClosesSendsNothing: a check that another node relays
// here may fetch a map after Close has waited for the goroutines that ping.
func TestAMapAdoptedWhileTheNodeClosesSendsNothing(t *testing.T) {
	n := newOwner(t, "n2")
	dialled := make(chan struct{}, 100)
	r := &remote{client: peer.NewClient(func(context.Context) (net.Conn, error) {
		dialled <- struct{}{}
		return nil, net.ErrClosed
	})}
	n.peers.clients = map[string]*remote{"n2": r}
	done := make(chan struct{})
	go func() { defer close(done); n.ownershipLoop() }()
	n.beatAll()
	<-dialled
	n.cancel()
	<-done
	n.wg.Wait()
	n.adopt(&ledger.Map{Epoch: 1, Grantors: []string{"n1", "n2"}})
	if n.epoch() != 1 {
		t.Error("the map was not adopted")
	}
	n.wg.Wait()
	n.peers.close()
	if len(dialled) > 0 {
		t.Error("a ping was sent")
	}
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
