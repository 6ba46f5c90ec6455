package cluster

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"quorate/fsm/ledger"
)

// sightings are the nodes that gossip considers alive, by their gossip names.
// Memberlist's own list points to nodes that it continues to change, so the
// notifications copy them, while memberlist holds its lock.
type sightings struct {
	mu    sync.Mutex
	nodes map[string]sighting // guarded by mu
}

type sighting struct {
	meta    []byte
	address string
}

// NotifyJoin implements memberlist.EventDelegate.
func (s *sightings) NotifyJoin(m *memberlist.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes == nil {
		s.nodes = map[string]sighting{}
	}
	s.nodes[m.Name] = sighting{slices.Clone(m.Meta), m.Address()}
}

// NotifyUpdate implements memberlist.EventDelegate.
func (s *sightings) NotifyUpdate(m *memberlist.Node) { s.NotifyJoin(m) }

// NotifyLeave implements memberlist.EventDelegate.
func (s *sightings) NotifyLeave(m *memberlist.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.nodes, m.Name)
}

// full reports whether there is no room for the node.
func (s *sightings) full(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.nodes[name]
	return !known && len(s.nodes) >= ledger.MaxMembers
}

func (s *sightings) all() []sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.nodes))
}

// gossipFilter refuses nodes of other clusters, and more nodes than a cluster may
// have. It needs both delegates: each alone lets some nodes in.
type gossipFilter struct{ n *Node }

// NotifyAlive implements memberlist.AliveDelegate.
func (f gossipFilter) NotifyAlive(m *memberlist.Node) error {
	if err := f.n.checkCluster(m.Meta); err != nil {
		return err
	}
	if f.n.gossip.seen.full(m.Name) {
		return fmt.Errorf("more than %d nodes", ledger.MaxMembers)
	}
	return nil
}

// NotifyMerge implements memberlist.MergeDelegate.
func (f gossipFilter) NotifyMerge(list []*memberlist.Node) error {
	for _, m := range list {
		if m.State != memberlist.StateAlive && m.State != memberlist.StateSuspect {
			continue
		}
		if err := f.n.checkCluster(m.Meta); err != nil {
			return err
		}
	}
	return nil
}

// checkCluster returns an error if the node of a meta belongs to another cluster. A
// node that is in no cluster yet may join this one.
func (n *Node) checkCluster(b []byte) error {
	m, err := decodeMeta(b)
	if err != nil {
		return fmt.Errorf("meta of another program: %w", err)
	}
	if own := n.identity.ClusterID(); n.startup.formed.Load() && m.Formed && m.Cluster != "" && own != "" && m.Cluster != own {
		err := fmt.Errorf("node %s is of cluster %s, this one of cluster %s", m.ID, m.Cluster, own)
		if _, ok := n.gossip.foreign.Allow(time.Now()); ok {
			n.cfg.Log.Warn("a node of another cluster is kept out; see --join", "err", err)
		}
		return err
	}
	return nil
}

// members returns the nodes that gossip considers alive, by id, each with its latest
// boot. If this node is in a cluster they are those of the same cluster.
func (n *Node) members() map[string]member {
	out := map[string]member{}
	own, formed := n.identity.ClusterID(), n.startup.formed.Load()
	for _, m := range n.gossip.seen.all() {
		d, err := decodeMeta(m.meta)
		if err != nil || !ledger.ValidAccount(d.ID) {
			continue // of another program
		}
		if formed && own != "" && d.Cluster != own {
			continue // it has not joined, and may have the id of a member
		}
		if other, ok := out[d.ID]; ok && other.Boot > d.Boot {
			continue
		}
		out[d.ID] = member{meta: d, gossip: m.address, state: "alive"}
	}
	return out
}
