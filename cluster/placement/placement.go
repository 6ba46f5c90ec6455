// Package placement makes the decisions of the node that leads the cluster: which
// nodes join and leave the configuration, which of them vote, and which node owns
// each partition. From a view of the cluster it computes one safe change; the
// driver applies that, gathers a new view and asks again.
//
// The package is pure: views and actions are values, and the time is a field of
// the view. The processes and the simulator drive the same code.
package placement

import (
	"slices"
	"time"

	"quorate/fsm/ledger"
)

// Timing is how quickly a leader reacts.
type Timing struct {
	Ping          time.Duration // between two pings of a node
	LostAfter     time.Duration // without an answer before a node's partitions are taken away
	OwnerLease    time.Duration // of an owner, in the maps that this leader makes
	FormationWait time.Duration // how long a cluster that forms waits for more nodes
}

// DefaultTiming suits nodes that are milliseconds apart.
func DefaultTiming() Timing {
	return Timing{Ping: 100 * time.Millisecond, LostAfter: time.Second, OwnerLease: 2 * time.Second, FormationWait: 5 * time.Second}
}

// LostBeats returns LostAfter as a number of pings. A node that was suspended counts
// none of the pings of that time as missed, whereas the time itself has passed.
func (t Timing) LostBeats() int { return int(t.LostAfter / t.Ping) }

// drift returns how much longer a slow clock can take for a lease.
func (t Timing) drift() time.Duration { return t.OwnerLease / 50 }

const (
	// maxLagToJoinMap is how many log entries a node may lack when it first gets
	// partitions.
	maxLagToJoinMap = 100
	// handoffTimeout is how long a removed node that answers has to hand over what it
	// owns. Then its successors take over as from a dead node.
	handoffTimeout = 8 * time.Second
)

// View is all that a decision is made from. A view is gathered for each decision
// and not changed afterwards.
type View struct {
	Now           time.Duration // on the leader's monotonic clock
	Self          string        // the id of the leader
	ClusterID     string        // empty: the cluster has none yet
	Map           *ledger.Map   // in force
	Partitions    int           // how many each map has
	Servers       []Server      // the configuration of Raft
	Nodes         map[string]Node
	Commit        uint64      // log index
	Version       uint64      // of commands, in force
	Settings      []ledger.Op // that give the log the settings of the leader
	TickDue       bool        // an override has run out, or a restore was abandoned
	MajorityBeats int         // pings in a row in which this node has reached a majority of the grantors
	Timing        Timing
}

// Server is a node of Raft's configuration.
type Server struct {
	ID      string
	Address string
	Voter   bool
}

// Node is what the leader knows of a node. The zero Node is one that was never
// heard of.
type Node struct {
	Peer    string        // address of its peer port
	Alive   bool          // in the view of gossip
	Boot    uint64        // by its last answer; 0: it has answered no ping
	Silence time.Duration // since the leader sent the last ping that was answered
	Missed  int           // beats since without an answer
	Answers bool          // it has answered one of the last few pings
	Reaches []string      // the nodes that have answered its own pings lately

	Ready         bool // it has applied its log as it stood at its start
	Leaving       bool // it drains
	Applied       uint64
	Epoch         uint64 // of the map that it has applied
	ImportedEpoch uint64 // of the map that Imported belongs to
	Imported      []byte // a bit for each partition that was handed over to it
	Knows         uint64 // the newest version of commands that its program knows; 0: not known
	Removed       bool   // by order: it must leave the cluster
}

// leaves reports whether a node must own nothing.
func (n *Node) leaves() bool { return n.Leaving || n.Removed }

// Action is one safe change. The zero Action is none; otherwise one field is set.
type Action struct {
	NameCluster bool        // give the cluster an id
	Tick        bool        // write an entry, so that the time of the log goes on
	Settings    []ledger.Op // to write
	Raise       uint64      // the version of commands to put in force
	Join        *Server     // to add to the configuration, or to change there
	Remove      *Server     // to take out of the configuration, by order
	Map         *ledger.Map // the next one
}

// server returns the server with the given id, nil if there is none.
func (v *View) server(id string) *Server {
	for i := range v.Servers {
		if v.Servers[i].ID == id {
			return &v.Servers[i]
		}
	}
	return nil
}

// heard reports whether a node has answered lately. The time alone does not
// tell: the leader may have been suspended.
func (v *View) heard(id string) bool {
	n := v.Nodes[id]
	return n.Boot != 0 && (n.Silence < v.Timing.LostAfter || n.Missed < v.Timing.LostBeats())
}

// reachable reports whether a node answers the leader, or a voter that does.
func (v *View) reachable(id string) bool { return v.heard(id) || v.reachableThroughVoter(id) }

// reachableThroughVoter reports whether a voter that answers the leader reaches
// the node: one cut link must not cost the node its partitions.
func (v *View) reachableThroughVoter(id string) bool {
	for _, s := range v.Servers {
		n := v.Nodes[s.ID]
		if s.Voter && s.ID != id && s.ID != v.Self && n.Answers && slices.Contains(n.Reaches, id) {
			return true
		}
	}
	return false
}

// recentlyIsolated reports whether the leader reached no majority until a moment
// ago: it has not heard yet which nodes are alive.
func (v *View) recentlyIsolated() bool {
	return v.Map.Epoch > 0 && v.MajorityBeats < v.Timing.LostBeats()
}

// ready reports whether a node can become a member of the map.
func (v *View) ready(id string) bool {
	n := v.Nodes[id]
	return n.Ready && (id == v.Self || n.Applied+maxLagToJoinMap >= v.Commit)
}

// tooOld reports whether a node knows less than the version of commands in force:
// its process would stop at the first of them.
func (v *View) tooOld(id string) bool { return v.Nodes[id].Knows < v.Version }
