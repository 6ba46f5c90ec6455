package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/ownership"
	"quorate/cluster/peer"
)

// ErrStale ends a node whose data directory is not the one that the node has written
// last, or beside which another process of the node runs.
var ErrStale = errors.New("this data directory cannot be used for this node any more")

const (
	// askAgain is how long after an attempt a node is asked again that gossip does not
	// know, at the address that the log has.
	askAgain = time.Second
	// admitWithin and sendWithin are how long another node's Raft, and this node's own,
	// wait for an answer that is under way. They are below the time-outs of a hello and
	// of an election.
	admitWithin = 2 * time.Second
	sendWithin  = 500 * time.Millisecond
)

// gate keeps this node's Raft from every other node that has not permitted this boot:
// neither a vote nor an acknowledgement of this node counts there before. A node that
// has no cluster at its start has promised nothing, and asks no other node.
type gate struct {
	self    ownership.Start   // the question, without what is on the disk
	servers map[string]string // address by id: of Raft's configuration at the start

	mu        sync.Mutex
	open      bool                 // everything below is over: no cluster at the start; guarded by mu
	ready     bool                 // the first round is over; guarded by mu
	permitted map[string]bool      // nodes that have permitted this boot; guarded by mu
	asking    map[string]time.Time // when they were asked last; zero while a question is under way; guarded by mu
	changed   chan struct{}        // closed at the next change; guarded by mu
}

// passes reports whether Raft may exchange messages with a node, and returns a channel
// that is closed when that may have changed.
func (g *gate) passes(id string) (bool, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open || g.ready && g.permitted[id], g.changed
}

// set changes the gate.
func (g *gate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	close(g.changed)
	g.changed = make(chan struct{})
}

// due reports whether a node is to be asked now, and notes that it is. every is the
// pause between two questions.
func (g *gate) due(id string, every time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	last, asked := g.asking[id]
	if g.open || g.permitted[id] || asked && (last.IsZero() || time.Since(last) < every) {
		return false
	}
	g.asking[id] = time.Time{}
	return true
}

// openGate prepares the questions, once Raft has read its log. Raft runs, but the gate
// is closed.
func (n *Node) openGate() error {
	g := &n.startup.gate
	servers, err := n.servers()
	if err != nil {
		return err
	}
	for _, s := range servers {
		if id := string(s.ID); id != n.cfg.NodeID {
			g.servers[id] = string(s.Address)
		}
	}
	g.set(func() { g.open = !n.startup.formed.Load() && n.identity.ClusterID() == "" })
	return nil
}

func (n *Node) initGate() {
	g := &n.startup.gate
	g.self = ownership.Start{ID: n.cfg.NodeID, Boot: n.boot}
	_, _ = rand.Read(g.self.Incarnation[:]) // never fails
	g.servers, g.permitted, g.asking = map[string]string{}, map[string]bool{}, map[string]time.Time{}
	g.changed = make(chan struct{})
}

// askFirst asks all nodes of the configuration that the log has, before gossip tells any
// node of this process: a process that runs beside another one of its node must not be
// taken for that node's next boot. It waits for all answers, askFor at most, so that no
// node that knows little is believed before one that knows more.
func (n *Node) askFirst() error {
	g := &n.startup.gate
	if ok, _ := g.passes(""); ok {
		return nil
	}
	refused := make(chan error, len(g.servers))
	var wg sync.WaitGroup
	for id, addr := range g.servers {
		if g.due(id, 0) {
			wg.Go(func() { refused <- n.askStart(id, addr) })
		}
	}
	wg.Wait()
	close(refused)
	g.set(func() { g.ready = true })
	for err := range refused {
		if err != nil {
			return err
		}
	}
	return nil
}

// gateLoop asks every node that is heard of later, or that did not answer.
func (n *Node) gateLoop() {
	t := time.NewTicker(n.cfg.Timing.Ping)
	defer t.Stop()
	g := &n.startup.gate
	if ok, _ := g.passes(""); ok {
		return // for good
	}
	for {
		known := n.peers.all()
		for id := range known {
			n.askSoon(id, "", n.cfg.Timing.Ping)
		}
		for id, addr := range g.servers {
			if known[id] == nil {
				n.askSoon(id, addr, askAgain)
			}
		}
		select {
		case <-t.C:
		case <-n.ctx.Done():
			return
		}
	}
}

// askSoon asks a node on a goroutine of its own. Only gateLoop calls it: the loop's own
// count keeps n.wg from rising again once Close waits for it.
func (n *Node) askSoon(id, addr string, every time.Duration) {
	if !n.startup.gate.due(id, every) {
		return
	}
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		if err := n.askStart(id, addr); err != nil {
			n.fault.Raise(err)
		}
	}()
}

// askStart asks a node whether this boot may take part, at an address if one is given.
// Its error wraps ErrStale if the answer is no; without an answer there is none.
func (n *Node) askStart(id, addr string) error {
	g := &n.startup.gate
	q := g.self
	q.Index, q.Term = n.raft.LastIndex(), n.term()
	refusal, err := n.callStart(id, addr, &q)
	switch {
	case err == nil && refusal.Reason == ownership.NoReason, isUnknownMethod(err):
		// A node of an earlier version does not know the question, and permits everything.
		g.set(func() { g.permitted[id] = true })
	case err == nil:
		err = fmt.Errorf("%w: node %s says that %s. %s", ErrStale, id, refusal.Explain(&q), n.advice(refusal.Reason))
		g.set(func() { g.asking[id] = time.Now() })
		return err
	default:
		n.cfg.Log.Debug("ask whether this boot may start", "node", id, "err", err)
	}
	g.set(func() { g.asking[id] = time.Now() })
	return nil
}

// advice returns what an operator can do about a refusal.
func (n *Node) advice(r ownership.Reason) string {
	replace := fmt.Sprintf("run `quorate cluster remove %s`, then start this node with another --node-id and an empty --data-dir", n.cfg.NodeID)
	if r == ownership.OtherAlive {
		return "Two processes must not run on copies of one directory: leave the other one running and delete this copy; for one more node, start one with another --node-id and an empty --data-dir"
	}
	return "A node must not return with less than it has acknowledged: start it with the directory that it wrote last; if that is lost, " + replace
}

func (n *Node) callStart(id, addr string, q *ownership.Start) (f ownership.Refusal, err error) {
	arg, err := q.Encode()
	if err != nil {
		return f, err
	}
	ctx, cancel := context.WithTimeout(n.ctx, askFor)
	defer cancel()
	var client *peer.Client
	if r := n.peers.get(id); addr == "" && r != nil {
		client = r.client
	} else {
		client = n.clientOf(addr)
		defer client.Close()
	}
	b, err := client.Call(ctx, methodStart, arg)
	if err != nil {
		return f, err
	}
	return ownership.DecodeRefusal(b)
}

// clientOf returns a client of the node at an address. The caller closes it.
func (n *Node) clientOf(addr string) *peer.Client {
	return peer.NewClient(func(ctx context.Context) (net.Conn, error) { return n.mux.DialPeer(ctx, addr) })
}

// isUnknownMethod reports whether a node does not know a method. The wire has only the
// text.
func isUnknownMethod(err error) bool {
	return errors.Is(err, peer.ErrRefused) && strings.Contains(err.Error(), unknownMethod)
}

var errNotPermitted = errors.New("a node that has not permitted this boot yet")

// awaitPermit waits until Raft may exchange messages with a node.
func (n *Node) awaitPermit(id string, within time.Duration) error {
	ok, changed := n.startup.gate.passes(id)
	if ok {
		return nil
	}
	end := time.NewTimer(within)
	defer end.Stop()
	for {
		select {
		case <-changed:
		case <-end.C:
			return fmt.Errorf("node %s: %w", id, errNotPermitted)
		case <-n.ctx.Done():
			return n.ctx.Err()
		}
		if ok, changed = n.startup.gate.passes(id); ok {
			return nil
		}
	}
}

func (n *Node) maySend(id raft.ServerID) error { return n.awaitPermit(string(id), sendWithin) }

func (n *Node) mayReceive(id string) error { return n.awaitPermit(id, admitWithin) }
