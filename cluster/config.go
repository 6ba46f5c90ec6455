// Package cluster joins processes into one cluster: gossip finds the nodes, Raft agrees
// on the state, the leader keeps the ownership map, and the peer protocol carries checks
// and writes between nodes.
//
// Gossip is only an address book and a hint; what counts is in Raft. The decisions are in
// the packages placement (of the leader) and ownership (of each node), with the lengths
// of leases and time-outs in their DefaultTiming. DESIGN.md lists what to change where,
// PROTOCOL.md describes the leases.
package cluster

import (
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/ownership"
	"quorate/cluster/placement"
	"quorate/cluster/transport"
	"quorate/fsm/ledger"
)

// ErrAddress is wrapped by the errors of Open about an address. Those about the data
// directory wrap storage.ErrDataDir.
var ErrAddress = errors.New("address cannot be used")

// FSM is what the log is applied to and what this package reads of it.
type FSM interface {
	raft.FSM
	Map() *ledger.Map
	ClusterID() string
	Index() uint64
	State() *ledger.State
}

// Config is what a Node is made of.
type Config struct {
	NodeID  string
	DataDir string
	Version string // of the program

	Peer   net.Listener // Raft and peer traffic; the node closes it
	Gossip string       // host:port, UDP and TCP

	AdvertiseHTTP   string // host:port, as others see it
	AdvertisePeer   string
	AdvertiseGossip string

	TLS        *transport.TLS // nil: the peer port is plain TCP
	GossipKeys [][]byte       // of 16, 24 or 32 bytes, the first encrypts; none: gossip is plain

	Join            []string // gossip addresses; this node's own is fine
	BootstrapExpect int      // nodes that form a new cluster; 0: only ever join one
	Voters          int      // how many of the nodes vote, as the one that leads says: odd, at most 7; 0: DefaultVoters

	Settings ledger.Settings // of the whole cluster, while this node leads; 0: as they are

	// HoldVersion keeps the cluster at the version of commands of the program before, so
	// that it can go back to that program. It has no effect once the version was raised.
	HoldVersion bool

	FSM  FSM
	Log  *slog.Logger
	Wall func() time.Time     // the wall clock; nil: the machine's
	Now  func() time.Duration // the monotonic clock that leases are counted by; nil: since Open

	Timing Timing
}

// setDefaults replaces the zero values that have defaults.
func (c *Config) setDefaults() {
	if c.Voters == 0 {
		c.Voters = DefaultVoters
	}
	if c.Wall == nil {
		c.Wall = time.Now
	}
	if c.Now == nil {
		start := time.Now()
		c.Now = func() time.Duration { return time.Since(start) }
	}
}

// DefaultVoters is how many nodes vote where nothing else is said; further ones
// hold a full copy without a vote.
const DefaultVoters = 3

// Timing is how quickly the cluster notices things.
type Timing struct {
	Heartbeat      time.Duration // Raft's heartbeat and election timeout
	LeaderLease    time.Duration // how long a leader leads without a majority
	Commit         time.Duration // how soon an idle follower learns of a commit
	Ping           time.Duration // between health checks of a node
	LostAfter      time.Duration // without an answer before an owner is replaced
	OwnerLease     time.Duration // of an owner, as the maps of this node when it leads say
	FormationWait  time.Duration // how long a cluster that forms waits for more nodes
	Gossip         time.Duration // between gossip probes
	Rejoin         time.Duration // between attempts to reach nodes that gossip lost
	StabilizeAfter time.Duration // how long a node must be healthy before it gets a vote
	DiskStall      time.Duration // how long one operation of the disk may take before the node stops
}

// DefaultTiming suits nodes that are milliseconds apart.
func DefaultTiming() Timing {
	p := placement.DefaultTiming()
	return Timing{
		Heartbeat:      time.Second,
		LeaderLease:    500 * time.Millisecond,
		Commit:         10 * time.Millisecond,
		Ping:           p.Ping,
		LostAfter:      p.LostAfter,
		OwnerLease:     p.OwnerLease,
		FormationWait:  p.FormationWait,
		Gossip:         time.Second,
		Rejoin:         5 * time.Second,
		StabilizeAfter: 5 * time.Second,
		DiskStall:      6 * time.Second,
	}
}

// ownership returns the timing of what each node decides.
func (t *Timing) ownership() ownership.Timing {
	o := ownership.DefaultTiming()
	o.Ping, o.PingTimeout = t.Ping, t.LostAfter
	return o
}

// placement returns the part that the leader's decisions depend on.
func (t *Timing) placement() placement.Timing {
	return placement.Timing{Ping: t.Ping, LostAfter: t.LostAfter, OwnerLease: t.OwnerLease, FormationWait: t.FormationWait}
}
