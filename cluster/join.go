package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/placement"

	"quorate/cluster/logs"
)

// ErrWiped ends a node that has no cluster on its disk, although the cluster has a
// node of its id.
var ErrWiped = errors.New("the cluster has a node of this id, and this data directory is not that node's")

// joinEvery is how often a node without a cluster asks to join one.
const joinEvery = 500 * time.Millisecond

// joinLoop joins the cluster that is there, or forms a new one. It runs until the
// node has Raft state.
func (n *Node) joinLoop() {
	t := time.NewTicker(n.cfg.Timing.Ping)
	defer t.Stop()
	var s joinState
	for !n.startup.formed.Load() {
		n.joinOrBootstrap(&s)
		select {
		case <-t.C:
		case <-n.ctx.Done():
			return
		}
	}
}

// joinState is what joinLoop remembers from one round to the next.
type joinState struct {
	warned  logs.Limiter
	seen    []string  // the nodes that gossip knows
	since   time.Time // when they became those
	asked   time.Time
	waiting string // what was logged last
}

func (n *Node) joinOrBootstrap(s *joinState) {
	if _, leader := n.raft.LeaderWithID(); leader != "" {
		n.markFormed()
		return
	}
	members := n.members()
	if !n.gossip.seedsTried.Load() {
		return // a node behind an address of --join may be in a cluster
	}
	if clusters := n.clusters(); len(clusters) > 0 {
		n.join(s, members, clusters)
		return
	}
	if ids := sortedIDs(members); !slices.Equal(ids, s.seen) {
		s.seen, s.since = ids, time.Now()
	}
	seen := map[string]placement.Founder{}
	for id, m := range members {
		seen[id] = placement.Founder{Expect: m.Expect, Formed: m.Formed}
	}
	ids, waiting := placement.Founders(seen, n.cfg.NodeID, n.cfg.BootstrapExpect, time.Since(s.since) > n.cfg.Timing.FormationWait)
	if waiting != "" && waiting != s.waiting {
		s.waiting = waiting
		n.cfg.Log.Info("waiting for a cluster", "because", waiting)
	}
	if len(ids) == 0 || ids[0] != n.cfg.NodeID {
		return
	}
	if err := n.bootstrap(members, ids); err != nil {
		if _, ok := s.warned.Allow(time.Now()); ok {
			n.cfg.Log.Warn("no cluster was formed; trying again", "err", err)
		}
	}
}

// clusters returns the ids of the clusters whose nodes are seen. Two of them may
// have nodes of one id.
func (n *Node) clusters() (ids []string) {
	for _, k := range n.gossip.seen.all() {
		if m, err := decodeMeta(k.meta); err == nil && m.Formed && m.Cluster != "" && !slices.Contains(ids, m.Cluster) {
			ids = append(ids, m.Cluster)
		}
	}
	slices.Sort(ids)
	return ids
}

// join asks the nodes of the cluster that is seen whether this node may join it.
// Once this node has noted the cluster on its disk, the leader adds it.
func (n *Node) join(s *joinState, members map[string]member, clusters []string) {
	if slices.Contains(clusters, n.identity.ClusterID()) || time.Since(s.asked) < joinEvery {
		return
	}
	s.asked = time.Now()
	if len(clusters) > 1 {
		if _, ok := s.warned.Allow(time.Now()); ok {
			n.cfg.Log.Error("nodes of several clusters are seen, and this one will choose none: see --join", "clusters", strings.Join(clusters, ", "))
		}
		return
	}
	free := false
	for _, id := range sortedIDs(members) {
		if !members[id].Formed {
			continue
		}
		r, err := n.remote(id)
		if err != nil {
			continue // it is this node itself, under another address
		}
		ctx, cancel := context.WithTimeout(n.ctx, askFor)
		b, err := r.client.Call(ctx, methodJoin, []byte(n.cfg.NodeID))
		cancel()
		if err != nil || len(b) != 1 {
			n.cfg.Log.Debug("ask to join", "node", id, "err", err)
			continue
		}
		switch b[0] {
		case joinKnown:
			n.fault.Raise(fmt.Errorf("%w. If its disk is lost: run `quorate cluster remove %s`, then start this node with another --node-id and an empty --data-dir", ErrWiped, n.cfg.NodeID))
			return
		case joinRemoved:
			n.noteRemoved(id)
			return
		case joinFree:
			free = true
		}
	}
	if !free {
		return
	}
	if err := n.identity.SetClusterID(clusters[0]); err != nil {
		n.cfg.Log.Error("join the cluster", "err", err)
		return
	}
	n.cfg.Log.Info("joining a cluster", "id", clusters[0])
	n.tellMeta()
}

// The answers to a node that asks to join.
const (
	joinUnsure  byte = iota // another node knows
	joinFree                // no node has that id
	joinKnown               // a member has it
	joinRemoved             // a member had it, which was removed
)

// serveJoin answers whether a node of the given id may join. Every node can answer
// that the id is taken; only the leader, once it has verified that it leads, can
// answer that it is free.
func (n *Node) serveJoin(ctx context.Context, id string) ([]byte, error) {
	servers, err := n.servers()
	if err != nil {
		return nil, err
	}
	switch {
	case n.cfg.FSM.State().Removed(id):
		return []byte{joinRemoved}, nil
	case find(servers, id) != nil:
		return []byte{joinKnown}, nil
	case n.raft.State() != raft.Leader:
		return []byte{joinUnsure}, nil
	}
	if _, err := n.readIndex(ctx); err != nil {
		return []byte{joinUnsure}, nil
	}
	return []byte{joinFree}, nil
}
