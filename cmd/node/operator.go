package node

import (
	"time"

	"quorate/api/rest"
	"quorate/cluster"
	"quorate/fsm"
)

// operator answers the API's questions about the cluster and this process.
type operator struct {
	id      string
	cluster *cluster.Node
	machine *fsm.Machine
}

// Cluster is rest.Operator.
func (o operator) Cluster() rest.ClusterStatus {
	s, m := o.cluster.Status(), o.machine.Map()
	out := rest.ClusterStatus{
		ClusterID: o.machine.ClusterID(), Term: s.Term, Epoch: m.Epoch, AnsweredByNode: o.id,
		Nodes: make([]rest.NodeStatus, 0, len(s.Nodes)),
	}
	if s.Leader != "" {
		out.Leader = &s.Leader
	}
	if since := o.machine.KeysSince(); since > 0 {
		text := time.UnixMilli(since).UTC().Format(time.RFC3339Nano)
		out.KeysSince = &text
	}
	out.Unowned, out.Moving = m.Unsettled()
	owned := m.Owned()
	for _, k := range s.Nodes {
		out.Nodes = append(out.Nodes, rest.NodeStatus{
			ID: k.ID, HTTP: k.HTTP, Peer: k.Peer, Gossip: k.Gossip, State: k.State, Voter: k.Voter,
			AppliedIndex: k.AppliedIndex, Version: k.Version, Partitions: owned[k.ID],
			Epoch: k.Epoch, Leases: k.Leases, Incomplete: k.Incomplete,
		})
	}
	return out
}

// Ready is rest.Operator. A missing leader does not make a node unready: checks
// still answer.
func (o operator) Ready() []rest.Probe {
	return []rest.Probe{
		{Name: "raft", OK: o.cluster.Ready(), Fatal: true},
		{Name: "ownership", OK: o.machine.Map().Epoch > 0, Fatal: true},
		{Name: "restoring", OK: !o.restoring(), Fatal: true},
		{Name: "draining", OK: !o.cluster.Leaving(), Fatal: true},
		{Name: "leader", OK: o.cluster.HasLeader()},
	}
}

// restoring reports whether a restore is under way, on any node.
func (o operator) restoring() bool {
	under, _ := o.machine.State().Restoring(0)
	return under
}
