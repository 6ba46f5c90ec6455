package cluster

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"quorate/cluster/ownership"
	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// Limiter is this node's limiter, as this package and other nodes use it. Calls may
// overlap, except calls of Adopt.
type Limiter interface {
	// Check decides a check for another node. With noWait it returns peer.ErrWouldWait
	// instead of waiting. It returns peer.ErrNotOwner if this node may not decide the
	// check.
	Check(ctx context.Context, route bucket.Route, c *bucket.Check, d *bucket.Decision, noWait bool) error
	// Settle settles a reservation that this node keeps.
	Settle(ctx context.Context, s *bucket.Settlement) (bucket.Settled, error)
	// Exchange serves a message of another node's limiter.
	Exchange(message []byte) ([]byte, error)
	// Adopt puts a map in force for checks.
	Adopt(v *ownership.View)
	// Imported returns the partitions that were handed over to this node by the map in
	// force, one bit for each partition.
	Imported() []byte
	// Incomplete returns how many of this node's partitions lack a complete copy.
	Incomplete() int
}

// owners drives package ownership: it locks, sends, and reads the clock. An event sends
// nothing itself, because it may come from a goroutine that outlives the node's loops:
// messages wait in outbox for ownershipLoop.
//
// Lock order: fetching, mu, then the limiter's own locks, since mu is held
// while the limiter adopts a map. peers.mu and remote.mu are not held when mu
// is taken.
type owners struct {
	timing  ownership.Timing
	limiter atomic.Pointer[Limiter]
	held    atomic.Pointer[ownership.Held]   // as of the last event: checks read it
	routes  atomic.Pointer[ownership.Routes] // likewise
	leases  atomic.Uint64                    // partitions held, as of the last beat
	lacking atomic.Uint64                    // of them, without complete copies
	leaving atomic.Bool

	applied chan struct{} // the state machine may have a newer map
	heard   chan uint64   // the epoch of another node's map that may be newer
	send    chan struct{} // the outbox is not empty

	fetching sync.Mutex // held while a map is fetched

	mu     sync.Mutex
	node   *ownership.Node     // guarded by mu
	outbox []ownership.Message // guarded by mu
}

func (o *owners) init(self ledger.Member, t ownership.Timing) {
	o.timing, o.node = t, ownership.New(self, t)
	o.applied, o.heard, o.send = make(chan struct{}, 1), make(chan uint64, 1), make(chan struct{}, 1)
	o.publishLocked()
}

// lock locks n.owners, after which n.owners.node knows the map that the state machine has
// applied.
func (n *Node) lock() *owners {
	n.owners.mu.Lock()
	n.owners.node.Applied(n.cfg.FSM.Map(), n.startup.replayed.Load())
	return &n.owners
}

// publishLocked makes the changes of an event visible to checks.
func (o *owners) publishLocked() {
	o.held.Store(o.node.Held())
	o.routes.Store(o.node.Routes())
}

// postLocked passes messages to ownershipLoop.
func (o *owners) postLocked(m []ownership.Message) {
	if len(m) == 0 {
		return
	}
	o.outbox = append(o.outbox, m...)
	select {
	case o.send <- struct{}{}:
	default:
	}
}

// SetLimiter sets the limiter. Before it is called, requests of other nodes to the limiter
// are refused.
func (n *Node) SetLimiter(l Limiter) {
	n.owners.mu.Lock()
	defer n.owners.mu.Unlock()
	n.owners.limiter.Store(&l)
	if m := n.owners.node.Map(); m.Epoch > 0 {
		l.Adopt(ownership.NewView(m, n.owners.node.Self()))
	}
}

// Boot returns the number of this boot.
func (n *Node) Boot() uint64 { return n.boot }

// ownershipLoop adopts each map that the state machine applies, pings the other nodes when
// one of them has a newer map, and sends the messages in the outbox.
func (n *Node) ownershipLoop() {
	for {
		select {
		case <-n.owners.applied:
			n.adopt(n.cfg.FSM.Map())
		case epoch := <-n.owners.heard:
			o := n.lock()
			o.postLocked(o.node.Heard(epoch, n.cfg.Now()))
			o.publishLocked()
			o.mu.Unlock()
		case <-n.owners.send:
			n.sendPings()
		case <-n.ctx.Done():
			return
		}
	}
}

// noteEpoch notes the epoch that an asking node has adopted. It does not block: it is
// called for each check of another node.
func (n *Node) noteEpoch(epoch uint64) {
	if epoch <= n.epoch() {
		return
	}
	select {
	case n.owners.heard <- epoch:
	default: // another epoch is about to be handled
	}
}

// adopt adopts a committed map, which may not be applied here yet, and requests leases
// under it at once.
func (n *Node) adopt(m *ledger.Map) {
	o := n.lock()
	defer o.mu.Unlock()
	v := o.node.Adopt(m)
	if v == nil {
		return
	}
	o.publishLocked()
	if l := o.limiter.Load(); l != nil {
		(*l).Adopt(v)
	}
	n.cfg.Log.Debug("map adopted", "epoch", m.Epoch)
	o.postLocked(o.node.Renew(n.cfg.Now()))
	o.publishLocked()
}

// beat is a beat of ownership. others are the ids of the other nodes.
func (n *Node) beat(others []string) {
	o := n.lock()
	now := n.cfg.Now()
	o.node.SetPeers(others)
	o.postLocked(o.node.Tick(now))
	o.publishLocked()
	o.leases.Store(uint64(o.node.Leases(now)))
	o.mu.Unlock()
	if l := o.limiter.Load(); l != nil {
		o.lacking.Store(uint64((*l).Incomplete()))
	}
}

// pong handles the answer to a ping.
func (n *Node) pong(from string, q ownership.Ping, p *ownership.Pong) ownership.Outcome {
	o := n.lock()
	defer o.mu.Unlock()
	defer o.publishLocked()
	return o.node.Pong(from, q, p, n.cfg.Now())
}

func (n *Node) lost(to string, q ownership.Ping) {
	n.owners.mu.Lock()
	defer n.owners.mu.Unlock()
	n.owners.node.PingLost(to, q)
}

func (n *Node) retry(to string, q ownership.Ping) (ownership.Ping, bool) {
	n.owners.mu.Lock()
	defer n.owners.mu.Unlock()
	return n.owners.node.Retry(to, q, n.cfg.Now())
}

// self returns this node's answer to a ping.
func (n *Node) self(q *ownership.Ping) ownership.Pong {
	p := ownership.Pong{
		Leaving: n.Leaving(), AppliedIndex: n.cfg.FSM.Index(), Wall: n.cfg.Wall().UnixMilli(),
		Leases: n.owners.leases.Load(), Incomplete: n.owners.lacking.Load(),
		CommandVersion: n.knows(), Term: n.term(),
	}
	p.HashIndex, p.Hash = n.cfg.FSM.State().Hash()
	o := n.lock()
	defer o.mu.Unlock()
	if l := o.limiter.Load(); l != nil {
		p.Imported = (*l).Imported()
	}
	o.node.Answer(q, n.cfg.Now(), &p)
	return p
}

// knows returns the newest version of commands that this node agrees to.
func (n *Node) knows() uint64 {
	if n.cfg.HoldVersion {
		return min(ledger.NewestVersion(), max(ledger.HeldVersion, n.cfg.FSM.State().Version()))
	}
	return ledger.NewestVersion()
}

// fetchMap fetches and adopts the map of a node that has adopted a later epoch.
func (n *Node) fetchMap(ctx context.Context, r *remote, epoch uint64) {
	n.owners.fetching.Lock() // the first caller fetches it for all
	defer n.owners.fetching.Unlock()
	if n.epoch() >= epoch {
		return
	}
	b, err := r.client.Call(ctx, methodMap, nil)
	if err != nil {
		n.cfg.Log.Debug("fetch the map", "err", err)
		return
	}
	m, err := ledger.DecodeMap(b)
	if err != nil {
		n.cfg.Log.Error("decode the map of another node", "err", err)
		return
	}
	n.adopt(m)
}

func (n *Node) serveMap() ([]byte, error) {
	n.owners.mu.Lock()
	m := n.owners.node.Map()
	n.owners.mu.Unlock()
	return m.Encode()
}

// epoch returns the epoch of the map adopted last.
func (n *Node) epoch() uint64 { return n.owners.held.Load().Epoch }

// Leases returns how many partitions this boot holds, as of the last beat.
func (n *Node) Leases() uint64 { return n.owners.leases.Load() }

// Valid reports whether this boot holds a lease on the partition at the instant now, by
// the clock of Config.Now.
func (n *Node) Valid(partition int, now time.Duration) bool {
	return noLease || n.owners.held.Load().Valid(partition, now)
}

// Majority reports whether a majority of the grantors was reached within the
// last beats.
func (n *Node) Majority() bool { return n.owners.routes.Load().Majority() }

// Reachable is a hint: it returns false if a node has not answered for some beats.
func (n *Node) Reachable(id string) bool { return n.owners.routes.Load().Reachable(id) }

// Relay returns a node that has recently reached the other node, empty if there is none.
func (n *Node) Relay(to string) string { return n.owners.routes.Load().Relay(to) }

// majorityBeats returns for how many beats in a row a majority has been reached.
func (n *Node) majorityBeats() int {
	n.owners.mu.Lock()
	defer n.owners.mu.Unlock()
	return n.owners.node.MajorityBeats()
}

// heardOf returns the last answer of another node; ok is false if the node is unknown.
func (n *Node) heardOf(id string) (p ownership.Peer, ok bool) {
	n.owners.mu.Lock()
	defer n.owners.mu.Unlock()
	return n.owners.node.Peer(id)
}

// silence returns the time since the sending of the last ping that a node has answered,
// math.MaxInt64 if it has answered none.
func (n *Node) silence(p *ownership.Peer) time.Duration {
	if !p.Answered {
		return math.MaxInt64
	}
	return n.cfg.Now() - p.Heard
}
