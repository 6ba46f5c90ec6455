// Package ownership makes the decisions of each node about ownership: which map it
// adopts, which partitions this boot may own and until when, which leases it grants,
// which nodes are alive, whether a majority is reached, and through which node it
// relays to another.
//
// A node pings every other node at each beat. A ping requests a lease; the answer
// grants or refuses it, and reports the state of the answering node. An owner holds a
// partition while a majority of the map's grantors has granted its epoch. Each grant
// counts from the sending of its ping, on the owner's own monotonic clock. A grantor
// grants the last epoch that it knows to be committed, and grants nothing before it has
// applied its log as the log stood at its start. So once a majority of the grantors has
// applied a map without the owner, and one lease has passed since, the owner holds
// nothing: every majority with which it could have renewed contains a grantor that
// refuses. (cluster/PROTOCOL.md has the proof.)
//
// The package is pure: it has no goroutine, no lock and no clock. Its methods take
// events and the time, and return messages to send and changes. The process (package
// cluster) and the simulator drive the same code.
package ownership

import (
	"bytes"
	"slices"
	"time"

	"quorate/fsm/ledger"
)

// Timing is how quickly a node reacts. Missed answers are counted in beats instead of
// time: a node that was suspended has missed no answers.
type Timing struct {
	Ping        time.Duration // between the pings of a node
	PingTimeout time.Duration // after this time without an answer a ping is lost
	Retry       time.Duration // until a node that has not applied the map yet is pinged again
	Tries       int           // pings in a row, the retries included; the next beat pings anyway
	InFlight    int           // pings to one node without an answer yet: a slow link must not look like a cut one
	Unreachable int           // missed beats after which a node is not asked to decide any more
	// CutOff is how many beats without a majority make this node cut off. Loss and
	// delay must not look like it, or many nodes would admit shares beside an owner. It
	// is the length of a lease: until then no other node can own anything.
	CutOff int
}

// DefaultTiming suits nodes that are milliseconds apart.
func DefaultTiming() Timing {
	return Timing{
		Ping:        100 * time.Millisecond,
		PingTimeout: time.Second,
		Retry:       10 * time.Millisecond,
		Tries:       10,
		InFlight:    8,
		Unreachable: 4,
		CutOff:      20,
	}
}

// LostBeats is PingTimeout in beats.
func (t *Timing) LostBeats() int { return int(t.PingTimeout / t.Ping) }

// Node is one boot of one node. Its methods must not overlap; what Held, Routes
// and Adopt return is immutable and may be read by any goroutine.
type Node struct {
	self   ledger.Member
	timing Timing

	adopted *ledger.Map // the newest committed map that this node knows; never nil
	applied *ledger.Map // by the state machine, perhaps not adopted yet; never nil
	ready   bool        // the log is applied as it stood at the start
	heardOf uint64      // the newest epoch that Heard has pinged for

	holder holder
	peers  map[string]*Peer
	order  []string // ids of peers, in the order of the ids, from the one that follows self's

	permitted map[string]Start // the last start of each node that this one has permitted

	everHadQuorum bool
	majorityBeats int

	routes *Routes
}

// Peer is what a node knows of another node by the answers to its pings.
type Peer struct {
	ID       string
	Pong     Pong          // the last answer; zero before the first
	Heard    time.Duration // when the ping was sent that Pong answers
	Answered bool          // Pong and Heard are set
	Missed   int           // beats since an answer
	Most     Reported      // the most that any boot has reported

	inFlight []time.Duration // when each ping without an outcome was sent
}

// Ping asks a node for its state and for a lease.
type Ping struct {
	From  ledger.Member
	Epoch uint64        // of the map that the sender has adopted
	Sent  time.Duration // on the sender's clock; not sent
	Try   int           // retries before this one; not sent
}

// Message is a ping to send.
type Message struct {
	To   string
	Ping Ping
}

// New returns a node that has adopted no map and knows no other node.
func New(self ledger.Member, t Timing) *Node {
	n := &Node{self: self, timing: t, adopted: &ledger.Map{}, applied: &ledger.Map{}, peers: map[string]*Peer{}, permitted: map[string]Start{}}
	n.holder = newHolder()
	n.route()
	return n
}

// Self returns the boot of the node.
func (n *Node) Self() ledger.Member { return n.self }

// Map returns the map adopted last; its epoch is 0 before the first.
func (n *Node) Map() *ledger.Map { return n.adopted }

// Epoch returns the epoch of the map adopted last.
func (n *Node) Epoch() uint64 { return n.adopted.Epoch }

// Applied sets the map that the state machine has in force, and whether the state machine
// has applied the log as it stood at the start. The node grants by both from now on.
func (n *Node) Applied(m *ledger.Map, ready bool) { n.applied, n.ready = m, ready }

// SetPeers sets the ids of all other nodes. The node forgets others.
func (n *Node) SetPeers(ids []string) {
	changed := false
	for id := range n.peers {
		if !slices.Contains(ids, id) {
			delete(n.peers, id)
			changed = true
		}
	}
	for _, id := range ids {
		if n.peers[id] == nil && id != n.self.ID {
			n.peers[id] = &Peer{ID: id}
			changed = true
		}
	}
	if !changed {
		return
	}
	// Each node begins at another id, so that not all nodes use the same relay.
	var before, after []string
	for id := range n.peers {
		if id < n.self.ID {
			before = append(before, id)
		} else {
			after = append(after, id)
		}
	}
	slices.Sort(before)
	slices.Sort(after)
	n.order = append(after, before...)
	n.route()
}

// Adopt adopts a committed map, applied here or not, and returns it as this boot sees
// it. It returns nil if the map is not newer than the last.
//
// The limiter must adopt the view, with the leases as they are now, before Renew is
// called: a lease that is valid then has held since before this map, so no other node
// can have owned the partition under a map that this node missed.
func (n *Node) Adopt(m *ledger.Map) *View {
	if m.Epoch <= n.adopted.Epoch {
		return nil
	}
	v := NewView(m, n.self)
	n.holder.adopt(m, v, n.self.ID)
	n.adopted = m
	n.route()
	return v
}

// Tick is called at each beat, every Timing.Ping. It requests leases. Each node has missed
// the beat until it answers.
func (n *Node) Tick(now time.Duration) []Message {
	n.noteQuorum()
	if n.majority(n.timing.LostBeats()) {
		n.majorityBeats++
	} else {
		n.majorityBeats = 0
	}
	for _, p := range n.peers {
		p.Missed++
	}
	n.reroute()
	return n.Renew(now)
}

// Renew requests leases of this node itself and of all others.
func (n *Node) Renew(now time.Duration) (out []Message) {
	own := n.ping(now)
	if n.grants(&own) {
		n.holder.granted(n.self.ID, own.Epoch, own.Sent)
	}
	for _, id := range n.order {
		p := n.peers[id]
		p.inFlight = slices.DeleteFunc(p.inFlight, func(sent time.Duration) bool { return now-sent > n.timing.PingTimeout })
		if len(p.inFlight) < n.timing.InFlight {
			p.inFlight = append(p.inFlight, now)
			out = append(out, Message{id, own})
		}
	}
	return out
}

// Heard notes that another node has adopted the map of an epoch. It returns pings the
// first time that this epoch is later than this node's. Their answers tell which node
// has the map, so a check that waits for it need not wait for the next beat.
func (n *Node) Heard(epoch uint64, now time.Duration) []Message {
	if epoch <= n.heardOf || epoch <= n.adopted.Epoch {
		return nil
	}
	n.heardOf = epoch
	return n.Renew(now)
}

func (n *Node) ping(now time.Duration) Ping {
	return Ping{From: n.self, Epoch: n.adopted.Epoch, Sent: now}
}

// Answer sets the fields of the answer to a ping that this package knows. The caller sets
// the others.
func (n *Node) Answer(q *Ping, now time.Duration, p *Pong) {
	p.Boot, p.Ready = n.self.Boot, n.ready
	p.AppliedEpoch, p.Epoch = n.applied.Epoch, n.adopted.Epoch
	p.Reaches = n.reaches(now)
	p.Granted = n.grants(q)
}

// grants reports whether this node, as a grantor, grants a lease. It decides by the newest
// map that it knows to be committed, which may not be applied here yet. A node that has
// not applied its log as it stood at the start grants nothing: it may have granted by a
// map that it does not know yet.
func (n *Node) grants(q *Ping) bool {
	m := n.applied
	if n.adopted.Epoch > m.Epoch {
		m = n.adopted
	}
	return n.ready && q.Epoch == m.Epoch && q.From.Boot == m.Boot(q.From.ID) && q.From.Boot != 0
}

// Outcome is what the driver must do after an answer to a ping.
type Outcome struct {
	Retry   bool // call Retry after Timing.Retry: the node has not applied the map yet
	Fetch   bool // fetch the node's map and adopt it: it is newer
	Changed bool // the leader may decide differently now
	Removed bool // this node was removed from the cluster
}

// Pong handles the answer to a ping. A late answer counts as lost.
func (n *Node) Pong(from string, q Ping, answer *Pong, now time.Duration) (o Outcome) {
	p := n.peers[from]
	if p == nil || now-q.Sent > n.timing.PingTimeout {
		n.PingLost(from, q)
		return o
	}
	last := &p.Pong
	o.Changed = answer.Boot != last.Boot || answer.Ready != last.Ready || answer.Leaving != last.Leaving ||
		answer.AppliedEpoch != last.AppliedEpoch || !bytes.Equal(answer.Imported, last.Imported)
	reaches := !slices.Equal(answer.Reaches, last.Reaches)
	p.Most.add(answer)
	if !p.Answered || q.Sent >= p.Heard {
		p.Pong, p.Heard = *answer, q.Sent
	}
	first := !p.Answered
	p.Answered, p.Missed = true, 0
	if reaches || first {
		n.route()
	} else {
		n.reroute()
	}
	n.noteQuorum()
	if answer.Granted {
		n.holder.granted(from, q.Epoch, q.Sent)
	}
	o.Removed = answer.Removed
	o.Fetch = answer.Epoch > n.adopted.Epoch
	if o.Retry = answer.AppliedEpoch < q.Epoch && q.Try+1 < n.timing.Tries; !o.Retry {
		n.PingLost(from, q)
	}
	return o
}

// Retry returns the ping to send after an outcome with Retry. ok is false if the node is
// no longer known.
func (n *Node) Retry(to string, q Ping, now time.Duration) (next Ping, ok bool) {
	n.PingLost(to, q)
	p := n.peers[to]
	if p == nil {
		return next, false
	}
	next = n.ping(now)
	next.Try = q.Try + 1
	p.inFlight = append(p.inFlight, now)
	return next, true
}

// PingLost ends a ping that has no answer.
func (n *Node) PingLost(to string, q Ping) {
	if p := n.peers[to]; p != nil {
		if i := slices.Index(p.inFlight, q.Sent); i >= 0 {
			p.inFlight = slices.Delete(p.inFlight, i, i+1)
		}
	}
}

// noteQuorum notes the first time that a majority is reached.
func (n *Node) noteQuorum() {
	if !n.everHadQuorum && n.majority(n.timing.CutOff) {
		n.everHadQuorum = true
		n.route()
	}
}

// MajorityBeats returns for how many beats in a row a majority of the grantors
// has answered one of the last Timing.LostBeats.
func (n *Node) MajorityBeats() int { return n.majorityBeats }

// majority reports whether a majority of the grantors, this node among them,
// has answered one of the last beats.
func (n *Node) majority(beats int) bool {
	have := 0
	for _, id := range n.adopted.Grantors {
		if p := n.peers[id]; id == n.self.ID || p != nil && p.Answered && p.Missed < beats {
			have++
		}
	}
	return have >= len(n.adopted.Grantors)/2+1
}

// reaches returns the nodes that have answered a ping of the last two beats.
func (n *Node) reaches(now time.Duration) (ids []string) {
	for _, id := range n.order {
		if p := n.peers[id]; p.Answered && now-p.Heard < 2*n.timing.Ping && len(ids) < maxNodes {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Peer returns what is known of a node; ok is false if SetPeers has not named it.
func (n *Node) Peer(id string) (p Peer, ok bool) {
	if p := n.peers[id]; p != nil {
		return *p, true
	}
	return p, false
}

// Peers returns what is known of all other nodes.
func (n *Node) Peers() []Peer {
	out := make([]Peer, 0, len(n.order))
	for _, id := range n.order {
		out = append(out, *n.peers[id])
	}
	return out
}

// Silent reports whether a node has not answered for Timing.PingTimeout, in time and in beats:
// time alone also passes while this node is suspended.
func (p *Peer) Silent(now time.Duration, t *Timing) bool {
	return (!p.Answered || now-p.Heard >= t.PingTimeout) && p.Missed >= t.LostBeats()
}

// Leases returns how many partitions are held at the instant now.
func (n *Node) Leases(now time.Duration) (count int) {
	held := n.Held()
	for p := range n.adopted.Places {
		if held.Valid(p, now) {
			count++
		}
	}
	return count
}

// Held returns the leases as of the last grant.
func (n *Node) Held() *Held { return n.holder.held() }

// Routes returns the reachable nodes as of the last event.
func (n *Node) Routes() *Routes { return n.routes }
