package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"quorate/cluster/placement"

	"quorate/cluster/logs"
)

// maxVoterLag is how many log entries a node may lack when it gets a vote.
const maxVoterLag = 5000

// newAutopilot returns the autopilot that gives votes to nodes that have been
// healthy for a while. It takes no vote away and removes no node: a dead voter
// comes back, or an operator removes it.
func (n *Node) newAutopilot() *autopilot.Autopilot {
	log := logs.Raft(n.cfg.Log.With("part", "autopilot"))
	return autopilot.New(audited{n.raft, n}, pilot{n}, autopilot.WithPromoter(promoter{n}), autopilot.WithLogger(log),
		autopilot.WithUpdateInterval(time.Second), autopilot.WithReconcileInterval(time.Second))
}

// pilot reports the health of the nodes to autopilot. It implements
// autopilot.ApplicationIntegration.
type pilot struct{ n *Node }

// AutopilotConfig implements autopilot.ApplicationIntegration.
func (p pilot) AutopilotConfig() *autopilot.Config {
	return &autopilot.Config{
		CleanupDeadServers: false, LastContactThreshold: 2 * p.n.cfg.Timing.LostAfter, MaxTrailingLogs: maxVoterLag,
		ServerStabilizationTime: p.n.cfg.Timing.StabilizeAfter,
	}
}

// KnownServers implements autopilot.ApplicationIntegration. It returns every server of
// Raft, whether gossip knows it or not.
func (p pilot) KnownServers() map[raft.ServerID]*autopilot.Server {
	out := map[raft.ServerID]*autopilot.Server{}
	f := p.n.raft.GetConfiguration()
	if f.Error() != nil {
		return out
	}
	for _, s := range f.Configuration().Servers {
		k := &autopilot.Server{ID: s.ID, Name: string(s.ID), Address: s.Address, NodeStatus: autopilot.NodeFailed, RaftVersion: int(raft.ProtocolVersionMax)}
		if string(s.ID) == p.n.cfg.NodeID {
			k.NodeStatus, k.IsLeader = autopilot.NodeAlive, true
		} else if r := p.n.peers.get(string(s.ID)); r != nil {
			if r.asMember().state == "alive" {
				k.NodeStatus = autopilot.NodeAlive
			}
		}
		out[s.ID] = k
	}
	return out
}

// FetchServerStats implements autopilot.ApplicationIntegration, by the last answers to
// pings.
func (p pilot) FetchServerStats(_ context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	out := map[raft.ServerID]*autopilot.ServerStats{}
	for id := range servers {
		if string(id) == p.n.cfg.NodeID {
			out[id] = &autopilot.ServerStats{LastTerm: p.n.term(), LastIndex: p.n.raft.LastIndex()}
		} else if k, ok := p.n.heardOf(string(id)); ok {
			out[id] = &autopilot.ServerStats{LastContact: p.n.silence(&k), LastTerm: k.Pong.Term, LastIndex: k.Pong.AppliedIndex}
		}
	}
	return out
}

// NotifyState implements autopilot.ApplicationIntegration.
func (pilot) NotifyState(*autopilot.State) {}

// RemoveFailedServer implements autopilot.ApplicationIntegration. It removes nothing.
func (pilot) RemoveFailedServer(*autopilot.Server) {}

// promoter decides which nodes vote.
type promoter struct{ n *Node }

// CalculatePromotionsAndDemotions implements autopilot.Promoter.
func (p promoter) CalculatePromotionsAndDemotions(c *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	var stable []string
	now, stabilizeAfter := time.Now(), s.ServerStabilizationTime(c)
	for id, k := range s.Servers {
		removed := p.n.cfg.FSM.State().Removed(string(id))
		if k.State == autopilot.RaftNonVoter && k.Health.IsStable(now, stabilizeAfter) && !removed {
			stable = append(stable, string(id))
		}
	}
	changes := autopilot.RaftChanges{Leader: s.Leader}
	for _, id := range placement.Promotions(len(s.Voters), p.n.cfg.Voters, stable) {
		changes.Promotions = append(changes.Promotions, raft.ServerID(id))
	}
	return changes
}

// audited is the Raft that autopilot uses: it records each new voter in the audit.
type audited struct {
	*raft.Raft
	n *Node
}

// AddVoter implements autopilot.Raft.
func (r audited) AddVoter(id raft.ServerID, addr raft.ServerAddress, prev uint64, timeout time.Duration) raft.IndexFuture {
	s := &placement.Server{ID: string(id), Address: string(addr), Voter: true}
	return auditedFuture{r.Raft.AddVoter(id, addr, prev, timeout), r.n, s}
}

type auditedFuture struct {
	raft.IndexFuture
	n *Node
	s *placement.Server
}

// Error implements raft.Future. Autopilot calls it once.
func (f auditedFuture) Error() error { return f.n.joined(f.s, f.IndexFuture) }

// GetServerExt implements autopilot.Promoter.
func (promoter) GetServerExt(*autopilot.Config, *autopilot.ServerState) any { return nil }

// GetStateExt implements autopilot.Promoter.
func (promoter) GetStateExt(*autopilot.Config, *autopilot.State) any { return nil }

// GetNodeTypes implements autopilot.Promoter.
func (promoter) GetNodeTypes(_ *autopilot.Config, s *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	types := map[raft.ServerID]autopilot.NodeType{}
	for id := range s.Servers {
		types[id] = autopilot.NodeVoter
	}
	return types
}

// FilterFailedServerRemovals implements autopilot.Promoter. It allows none.
func (promoter) FilterFailedServerRemovals(*autopilot.Config, *autopilot.State, *autopilot.FailedServers) *autopilot.FailedServers {
	return &autopilot.FailedServers{}
}

// IsPotentialVoter implements autopilot.Promoter.
func (promoter) IsPotentialVoter(t autopilot.NodeType) bool { return t == autopilot.NodeVoter }
