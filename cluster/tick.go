package cluster

import "time"

// tickLoop runs tick at every beat.
func (n *Node) tickLoop() {
	t := time.NewTicker(n.cfg.Timing.Ping)
	defer t.Stop()
	var rejoined time.Time
	for {
		n.tick(&rejoined)
		select {
		case <-t.C:
		case <-n.ctx.Done():
			return
		}
	}
}

// tick updates the known nodes, pings them, notices that the log has been replayed,
// joins gossip again if a node is missing, and stores the cluster id on a legacy disk.
// rejoined is when it last joined gossip.
func (n *Node) tick(rejoined *time.Time) {
	// A leader may have replaced uncommitted entries by fewer ones: the log can be
	// shorter than at the start.
	if !n.startup.replayed.Load() && n.cfg.FSM.Index() >= min(n.startup.lastIndex, n.raft.LastIndex()) {
		n.startup.replayed.Store(true)
	}
	members := n.members()
	n.peers.update(members, n)
	n.beatAll()
	wait := n.cfg.Timing.Rejoin
	switch {
	case len(members) <= 1:
		wait = n.cfg.Timing.Ping
	case n.missesReachable(): // forever, if only gossip is blocked
		wait = n.cfg.Timing.Gossip
	}
	if now := time.Now(); now.Sub(*rejoined) >= wait && n.gossip.rejoining.CompareAndSwap(false, true) {
		*rejoined = now
		n.wg.Add(1) // rejoin may take seconds
		go func() { defer n.wg.Done(); defer n.gossip.rejoining.Store(false); n.rejoin() }()
	}
	if id := n.cfg.FSM.ClusterID(); id != "" && n.startup.formed.Load() && n.identity.ClusterID() == "" {
		if err := n.identity.SetClusterID(id); err != nil { // a legacy disk
			n.cfg.Log.Error("store the cluster id", "err", err)
		}
		n.tellMeta()
	}
}

// Ready reports whether this node may decide: it has applied its log as of its start,
// and has reached a majority since. A node that has just started and knows no other
// must not consider itself isolated.
func (n *Node) Ready() bool {
	return n.startup.replayed.Load() && n.owners.routes.Load().EverHadQuorum()
}

// Replayed reports whether this node has applied its log as of its start.
func (n *Node) Replayed() bool { return n.startup.replayed.Load() }

// MapChanged is called by the state machine when it has applied a map: this node
// adopts the map, and the leader decides anew.
func (n *Node) MapChanged() {
	select {
	case n.owners.applied <- struct{}{}:
	default:
	}
	n.wake()
}

// wake wakes leaderLoop.
func (n *Node) wake() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}
