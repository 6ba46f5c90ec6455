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

// ErrWiped is what a node ends with whose id the cluster knows with another
// disk.
var ErrWiped = errors.New("the cluster has a node of this id, and this data directory is not that node's")

// enterEvery is how often a node that is in no cluster looks for one.
const enterEvery = 500 * time.Millisecond

// enterLoop finds this node a cluster: the one that is there, else a new one. It
// runs until the node has Raft state.
func (n *Node) enterLoop() {
	t := time.NewTicker(n.cfg.Timing.Ping)
	defer t.Stop()
	var e entering
	for !n.startup.formed.Load() {
		n.enter(&e)
		select {
		case <-t.C:
		case <-n.ctx.Done():
			return
		}
	}
}

// entering is what a node without a cluster remembers from look to look.
type entering struct {
	warned logs.Limiter
	seen   []string  // ids
	since  time.Time // that the same were seen
	asked  time.Time
	waited string
}

func (n *Node) enter(e *entering) {
	if _, leader := n.raft.LeaderWithID(); leader != "" {
		n.markFormed()
		return
	}
	members := n.members()
	if !n.gossip.seedsTried.Load() {
		return // before every address of --join was tried there may be more to see
	}
	if clusters := n.clusters(); len(clusters) > 0 {
		n.join(e, members, clusters)
		return
	}
	if ids := sortedIDs(members); !slices.Equal(ids, e.seen) {
		e.seen, e.since = ids, time.Now()
	}
	seen := map[string]placement.Founder{}
	for id, m := range members {
		seen[id] = placement.Founder{Expect: m.Expect, Formed: m.Formed}
	}
	ids, why := placement.Founders(seen, n.cfg.NodeID, n.cfg.BootstrapExpect, time.Since(e.since) > n.cfg.Timing.FormationWait)
	if why != "" && why != e.waited {
		e.waited = why
		n.cfg.Log.Info("waiting for a cluster", "because", why)
	}
	if len(ids) == 0 || ids[0] != n.cfg.NodeID {
		return
	}
	if err := n.found(members, ids); err != nil {
		if _, ok := e.warned.Allow(time.Now()); ok {
			n.cfg.Log.Warn("no cluster was formed; trying again", "err", err)
		}
	}
}

// clusters returns the ids of the clusters whose nodes are seen. Two of them may
// have nodes of one id.
func (n *Node) clusters() (ids []string) {
	for _, s := range n.gossip.seen.all() {
		if m, err := decodeMeta(s.meta); err == nil && m.Formed && m.Cluster != "" && !slices.Contains(ids, m.Cluster) {
			ids = append(ids, m.Cluster)
		}
	}
	slices.Sort(ids)
	return ids
}

// join asks to be let into the cluster that is seen. Its leader does the rest
// once this node's disk has its seat.
func (n *Node) join(e *entering, members map[string]member, clusters []string) {
	if slices.Contains(clusters, n.identity.ClusterID()) || time.Since(e.asked) < enterEvery {
		return
	}
	e.asked = time.Now()
	if len(clusters) > 1 {
		if _, ok := e.warned.Allow(time.Now()); ok {
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
		b, err := r.client.Call(ctx, methodAdmit, []byte(n.cfg.NodeID))
		cancel()
		if err != nil || len(b) != 1 {
			n.cfg.Log.Debug("ask to be let in", "node", id, "err", err)
			continue
		}
		switch b[0] {
		case admitKnown:
			n.fault.Raise(fmt.Errorf("%w. If its disk is lost: run `quorate cluster remove %s`, then start this node with another --node-id and an empty --data-dir", ErrWiped, n.cfg.NodeID))
			return
		case admitRemoved:
			n.noteRemoved(id)
			return
		case admitFree:
			free = true
		}
	}
	if !free {
		return
	}
	if err := n.identity.SetClusterID(clusters[0]); err != nil {
		n.cfg.Log.Error("enter the cluster", "err", err)
		return
	}
	n.cfg.Log.Info("entering a cluster", "id", clusters[0])
	n.tellMeta()
}

// The answers to a node that asks to be let in.
const (
	admitUnsure  byte = iota // ask another
	admitFree                // nobody has that id
	admitKnown               // a member has it
	admitRemoved             // a member had it, which was removed
)

// serveAdmit says whether an id is free. Any node that knows it to be taken
// says so; that it is free only the leader can tell, with a majority behind it.
func (n *Node) serveAdmit(ctx context.Context, id string) ([]byte, error) {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, err
	}
	switch {
	case n.cfg.FSM.State().Removed(id):
		return []byte{admitRemoved}, nil
	case find(f.Configuration().Servers, id) != nil:
		return []byte{admitKnown}, nil
	case n.raft.State() != raft.Leader:
		return []byte{admitUnsure}, nil
	}
	if _, err := n.readIndex(ctx); err != nil {
		return []byte{admitUnsure}, nil
	}
	return []byte{admitFree}, nil
}
