package cluster

import (
	"slices"

	"github.com/hashicorp/raft"
)

// tryBootstrap forms a new cluster when exactly the expected nodes are there,
// all say so, and none of them has ever been in one. Only the lowest id does
// it: had two formed clusters from different views, they could never merge.
func (n *Node) tryBootstrap(members map[string]member) {
	if _, leader := n.raft.LeaderWithID(); leader != "" {
		n.markFormed()
		return
	}
	if !n.mayBootstrap(members) {
		return
	}
	var c raft.Configuration
	for _, id := range sortedIDs(members) {
		c.Servers = append(c.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(members[id].Peer),
		})
	}
	if err := n.raft.BootstrapCluster(c).Error(); err != nil {
		n.cfg.Log.Error("form cluster", "err", err)
		return
	}
	n.cfg.Log.Info("formed a cluster", "nodes", sortedIDs(members))
	n.markFormed()
}

func (n *Node) mayBootstrap(members map[string]member) bool {
	expect := n.cfg.BootstrapExpect
	if expect == 0 || len(members) != expect || sortedIDs(members)[0] != n.cfg.NodeID {
		return false
	}
	for _, m := range members {
		if m.Expect != expect || m.Formed || m.state != "alive" {
			return false
		}
	}
	return true
}

// markFormed lets the others know that this node has Raft state.
func (n *Node) markFormed() {
	if n.formed.Swap(true) {
		return
	}
	if err := n.gossip.UpdateNode(0); err != nil {
		n.cfg.Log.Debug("gossip of new meta", "err", err)
	}
}

func sortedIDs[T any](members map[string]T) []string {
	ids := make([]string, 0, len(members))
	for id := range members {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
