package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"quorate/cluster/lease"
	"quorate/cluster/peer"
	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// Limiter is this node's buckets, as the map and other nodes reach them. Calls
// may overlap, but not those of Adopt.
type Limiter interface {
	// Check decides for another node; with once it answers peer.ErrWouldWait
	// instead of waiting. peer.ErrNotOwner: it is not for this node to decide.
	Check(ctx context.Context, ask bucket.Ask, c *bucket.Check, d *bucket.Decision, once bool) error
	// Settle settles a reservation of this node's own.
	Settle(ctx context.Context, s *bucket.Settlement) (bucket.Settled, error)
	// Exchange serves a message of another node's limiter.
	Exchange(message []byte) ([]byte, error)
	// Adopt takes over a map; boot is this life's number.
	Adopt(m *ledger.Map, boot uint64)
	// Holding returns, a bit a partition, what was handed over to this node.
	Holding() []byte
	// Incomplete counts the partitions of this node's that lack a whole copy.
	Incomplete() int
}

// owners is the ownership map that this node goes by and its leases.
type owners struct {
	limiter  atomic.Pointer[Limiter]
	held     atomic.Pointer[lease.Held]
	grantors atomic.Pointer[[]string] // of the map adopted last: checks ask for them while one is adopted
	leases   atomic.Uint64            // partitions held, as of the last beat
	lacking  atomic.Uint64            // of them, without whole copies
	changed  chan struct{}            // there may be a newer map
	later    chan struct{}            // somebody goes by a later one
	heardOf  atomic.Uint64            // its epoch
	leaving  atomic.Bool

	mu     sync.Mutex
	m      *ledger.Map   // adopted last; guarded by mu
	holder *lease.Holder // guarded by mu

	learning sync.Mutex // held while a map is fetched
}

func (o *owners) init() {
	o.holder = lease.NewHolder()
	o.held.Store(o.holder.Held())
	o.m = &ledger.Map{}
	o.grantors.Store(&o.m.Grantors)
	o.changed, o.later = make(chan struct{}, 1), make(chan struct{}, 1)
}

// SetLimiter names who decides. Before it is called other nodes are refused.
func (n *Node) SetLimiter(l Limiter) {
	n.owners.mu.Lock()
	defer n.owners.mu.Unlock()
	n.owners.limiter.Store(&l)
	if n.owners.m.Epoch > 0 {
		l.Adopt(n.owners.m, n.boot)
	}
}

// Boot returns the number of this life.
func (n *Node) Boot() uint64 { return n.boot }

// hear notes that somebody who asks goes by a map. One that is later than this
// node's is asked for at once, not at the next beat: who asks does not wait long.
func (n *Node) hear(epoch uint64) {
	known := n.owners.heardOf.Load()
	if epoch <= known || epoch <= n.epoch() || !n.owners.heardOf.CompareAndSwap(known, epoch) {
		return
	}
	select {
	case n.owners.later <- struct{}{}:
	default:
	}
}

// mapLoop takes over each map that is applied or heard of.
func (n *Node) mapLoop() {
	for {
		select {
		case <-n.owners.changed:
			n.adopt(n.cfg.FSM.Map())
		case <-n.owners.later:
			n.peers.pingAll(n, false) // an answer tells of the map
		case <-n.ctx.Done():
			return
		}
	}
}

// adopt takes over a map that is committed, applied here or not, and asks for
// the leases on it at once.
func (n *Node) adopt(m *ledger.Map) {
	o := &n.owners
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.Epoch <= o.m.Epoch {
		return
	}
	o.holder.Adopt(terms(m), owned(m, n.cfg.NodeID, n.boot))
	o.held.Store(o.holder.Held())
	o.m = m
	o.grantors.Store(&m.Grantors)
	if l := o.limiter.Load(); l != nil {
		(*l).Adopt(m, n.boot)
	}
	n.cfg.Log.Debug("map adopted", "epoch", m.Epoch)
	n.askSelfLocked()
	n.peers.pingAll(n, false)
}

// owned returns the partitions that a life may come to decide: its own and
// those that move to it.
func owned(m *ledger.Map, id string, boot uint64) []bool {
	out := make([]bool, len(m.Places))
	for p, place := range m.Places {
		for role, at := range place[:2] {
			if int(at) < len(m.Members) && m.Members[at] == (ledger.Member{ID: id, Boot: boot}) {
				out[p] = out[p] || role == 0 || p < len(m.Moving) && m.Moving[p]
			}
		}
	}
	return out
}

// request is what this node asks its grantors for now.
func (n *Node) request() lease.Request {
	n.owners.mu.Lock()
	defer n.owners.mu.Unlock()
	return lease.Request{Life: lease.Life{ID: n.cfg.NodeID, Boot: n.boot}, Epoch: n.owners.holder.Epoch(), Sent: n.cfg.Now()}
}

// grants reports whether this node, as a grantor, grants a request: by the map
// that it goes by, which may be one that is committed and not applied here yet.
func (n *Node) grants(q lease.Request) bool {
	n.owners.mu.Lock()
	defer n.owners.mu.Unlock()
	return n.grantsLocked(q)
}

func (n *Node) grantsLocked(q lease.Request) bool {
	m := n.cfg.FSM.Map()
	if n.owners.m.Epoch > m.Epoch {
		m = n.owners.m
	}
	return lease.Grant(q, m.Epoch, m.Boot(q.ID), n.ready.Load())
}

func (n *Node) askSelf() {
	n.owners.mu.Lock()
	defer n.owners.mu.Unlock()
	n.askSelfLocked()
}

func (n *Node) askSelfLocked() {
	q := lease.Request{Life: lease.Life{ID: n.cfg.NodeID, Boot: n.boot}, Epoch: n.owners.holder.Epoch(), Sent: n.cfg.Now()}
	if n.grantsLocked(q) {
		n.grantedLocked(n.cfg.NodeID, q)
	}
}

func (n *Node) granted(by string, q lease.Request) {
	n.owners.mu.Lock()
	defer n.owners.mu.Unlock()
	n.grantedLocked(by, q)
}

func (n *Node) grantedLocked(by string, q lease.Request) {
	n.owners.holder.Granted(by, q.Epoch, q.Sent)
	n.owners.held.Store(n.owners.holder.Held())
}

// count counts the leases held, and what lacks copies.
func (n *Node) count() {
	n.owners.mu.Lock()
	parts := len(n.owners.m.Places)
	n.owners.mu.Unlock()
	held, now, have := n.owners.held.Load(), n.cfg.Now(), uint64(0)
	for p := range parts {
		if held.Valid(p, now) {
			have++
		}
	}
	n.owners.leases.Store(have)
	if l := n.owners.limiter.Load(); l != nil {
		n.owners.lacking.Store(uint64((*l).Incomplete()))
	}
}

// Leases returns how many partitions this life holds, as of the last beat.
func (n *Node) Leases() uint64 { return n.owners.leases.Load() }

// Valid reports whether this life holds the partition at the instant now, by
// the clock of Config.Now.
func (n *Node) Valid(partition int, now time.Duration) bool {
	return !leases || n.owners.held.Load().Valid(partition, now)
}

// Majority reports whether a majority of the grantors was reached within the
// last beats; a node is cut off only after a while without.
func (n *Node) Majority(time.Duration) bool { return n.majority(cutOff) }

// majority reports whether a majority of the grantors has answered one of the last
// beats.
func (n *Node) majority(beats int) bool {
	grantors := *n.owners.grantors.Load()
	have := 0
	for _, id := range grantors {
		if r := n.peers.get(id); id == n.cfg.NodeID || r != nil && int(r.missed.Load()) < beats {
			have++
		}
	}
	return have >= len(grantors)/2+1
}

// learn fetches the map of a node that goes by a later epoch than this one.
func (n *Node) learn(ctx context.Context, r *remote, epoch uint64) {
	n.owners.learning.Lock() // one is enough
	defer n.owners.learning.Unlock()
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
		n.cfg.Log.Error("a node's map cannot be read", "err", err)
		return
	}
	n.adopt(m)
}

// epoch returns that of the map adopted last.
func (n *Node) epoch() uint64 {
	n.owners.mu.Lock()
	defer n.owners.mu.Unlock()
	return n.owners.m.Epoch
}

func (n *Node) serveMap() ([]byte, error) {
	n.owners.mu.Lock()
	m := n.owners.m
	n.owners.mu.Unlock()
	return m.Encode()
}

// holding returns what was handed over to this node, and in which epoch.
func (n *Node) holding() (uint64, []byte) {
	n.owners.mu.Lock()
	defer n.owners.mu.Unlock()
	l := n.owners.limiter.Load()
	if l == nil {
		return n.owners.m.Epoch, nil
	}
	return n.owners.m.Epoch, (*l).Holding()
}

// Check has another node decide.
func (n *Node) Check(ctx context.Context, id string, ask bucket.Ask, c *bucket.Check, d *bucket.Decision) error {
	r, err := n.remote(id)
	if err != nil {
		return err
	}
	err = r.client.Check(ctx, ask, c, d)
	var not *peer.NotOwnerError
	switch {
	case errors.Is(err, peer.ErrBehind):
		return errors.Join(ledger.ErrBehind, err)
	case errors.As(err, &not) && not.Epoch > n.epoch():
		n.learn(ctx, r, not.Epoch)
	}
	return err
}

// Exchange has another node's limiter serve a message.
func (n *Node) Exchange(ctx context.Context, id string, message []byte) ([]byte, error) {
	r, err := n.remote(id)
	if err != nil {
		return nil, err
	}
	return r.client.Call(ctx, methodExchange, message)
}

func (n *Node) serveExchange(message []byte) ([]byte, error) {
	l := n.owners.limiter.Load()
	if l == nil || !n.ready.Load() {
		return nil, errStarting
	}
	return (*l).Exchange(message)
}

// ErrAlone is a node that nobody can take anything over from.
var ErrAlone = errors.New("no other node is there to take over")

// Undrain has the node own partitions again after a Drain.
func (n *Node) Undrain() { n.owners.leaving.Store(false) }

// Drain has the leader move this node's partitions to others, and waits until
// it owns none or ctx ends. Its error wraps ErrAlone where nobody else is.
func (n *Node) Drain(ctx context.Context) error {
	n.owners.leaving.Store(true)
	if n.out.Load() {
		return nil // nobody tells it any more what it owns
	}
	t := time.NewTicker(n.cfg.Timing.Ping / 4)
	defer t.Stop()
	for {
		if err := n.fault.Err(); err != nil {
			return err // the leader does not reach it
		}
		m := n.cfg.FSM.Map()
		if len(m.Members) < 2 && len(m.Places) > 0 {
			return ErrAlone
		}
		if m.Owned()[n.cfg.NodeID] == 0 && !slices.Contains(owned(m, n.cfg.NodeID, n.boot), true) {
			return nil
		}
		n.wake()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Leaving reports whether the node drains.
func (n *Node) Leaving() bool { return n.owners.leaving.Load() }
