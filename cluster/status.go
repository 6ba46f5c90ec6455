package cluster

import (
	"github.com/hashicorp/raft"
)

// Status is the cluster as this node sees it.
type Status struct {
	Leader string // empty: none known
	Term   uint64
	Nodes  []NodeStatus // by id
}

// NodeStatus is a node of the cluster, alive or not.
type NodeStatus struct {
	ID, HTTP, Peer, Gossip string
	State                  string // alive, suspect, left or dead
	Voter                  bool
	AppliedIndex           uint64 // as of the last ping
	Epoch                  uint64 // of the map it has applied, likewise
	Leases                 uint64 // partitions it holds a lease on, likewise
	Incomplete             uint64 // of its partitions, those without whole copies; likewise
	Version                string
}

// Voters returns the ids of the nodes with a vote, sorted.
func (s *Status) Voters() (ids []string) {
	for i := range s.Nodes {
		if s.Nodes[i].Voter {
			ids = append(ids, s.Nodes[i].ID)
		}
	}
	return ids
}

// Status returns the cluster as this node sees it.
func (n *Node) Status() Status {
	_, leader := n.raft.LeaderWithID()
	s := Status{Leader: string(leader)}
	s.Term = n.term()
	nodes := map[string]*NodeStatus{
		n.cfg.NodeID: {
			ID: n.cfg.NodeID, HTTP: n.cfg.AdvertiseHTTP, Peer: n.cfg.AdvertisePeer, Gossip: n.gossip.address,
			State: "alive", AppliedIndex: n.cfg.FSM.Index(),
			Epoch: n.cfg.FSM.Map().Epoch, Leases: n.owners.leases.Load(), Incomplete: n.owners.lacking.Load(), Version: n.cfg.Version,
		},
	}
	for id, r := range n.peers.all() {
		m := r.asMember()
		p, _ := n.heardOf(id)
		if m.state == "alive" && (!p.Answered || n.silence(&p) > n.cfg.Timing.LostAfter) {
			m.state = "suspect" // pings notice before gossip does
		}
		nodes[id] = &NodeStatus{
			ID: id, HTTP: m.HTTP, Peer: m.Peer, Gossip: m.gossip, State: m.state, AppliedIndex: p.Pong.AppliedIndex,
			Epoch: p.Pong.AppliedEpoch, Leases: p.Pong.Leases, Incomplete: p.Pong.Incomplete, Version: m.Version,
		}
	}
	if f := n.raft.GetConfiguration(); f.Error() == nil {
		for _, srv := range f.Configuration().Servers {
			k := nodes[string(srv.ID)]
			if k == nil { // not seen since this boot
				k = &NodeStatus{ID: string(srv.ID), Peer: string(srv.Address), State: "dead"}
				nodes[k.ID] = k
			}
			k.Voter = srv.Suffrage == raft.Voter
		}
	}
	for _, id := range sortedIDs(nodes) {
		s.Nodes = append(s.Nodes, *nodes[id])
	}
	return s
}

// HasLeader reports whether a leader is known.
func (n *Node) HasLeader() bool {
	_, leader := n.raft.LeaderWithID()
	return leader != ""
}
