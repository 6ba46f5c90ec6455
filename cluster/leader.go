package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/ownership"
	"quorate/cluster/placement"
	"quorate/fsm/ledger"
)

// leaderLoop watches the write that is on its way to the leader, and while this
// node leads makes the changes that placement decides on: it gathers a view,
// applies one change and gathers again.
func (n *Node) leaderLoop() {
	t := time.NewTicker(n.cfg.Timing.Ping)
	defer t.Stop()
	leader := placement.NewLeader()
	pilot := n.newAutopilot()
	defer func() { <-pilot.Stop() }()
	for {
		select {
		case <-t.C:
			if f := n.forwarded.Load(); f != nil {
				_, leader := n.raft.LeaderWithID()
				f.poll(string(leader))
			}
		case <-n.kick:
		case <-n.ctx.Done():
			return
		}
		if n.raft.State() != raft.Leader {
			if leader.End() {
				<-pilot.Stop()
			}
			continue
		}
		if leader.Begin(n.cfg.Now()) {
			pilot.Start(n.ctx)
		}
		v, err := n.gather()
		if err != nil {
			n.cfg.Log.Debug("gather a view of the cluster", "err", err)
			continue
		}
		for _, id := range leader.TooOld(v) {
			n.cfg.Log.Warn("a node may not join: its program is older than the cluster's commands", "id", id, "knows", v.Nodes[id].Knows, "in_force", v.Version)
		}
		n.act(leader.Decide(v))
	}
}

// gather returns what this node, as the leader, knows of the cluster.
func (n *Node) gather() (*placement.View, error) {
	servers, err := n.servers()
	if err != nil {
		return nil, err
	}
	state, logTime := n.cfg.FSM.State(), n.logTime()
	v := &placement.View{
		Now: n.cfg.Now(), Self: n.cfg.NodeID, ClusterID: n.cfg.FSM.ClusterID(), Map: n.cfg.FSM.Map(), Partitions: ledger.Partitions,
		Nodes: map[string]placement.Node{}, Commit: n.raft.CommitIndex(), Version: state.Version(),
		MajorityBeats: n.majorityBeats(), Timing: n.cfg.Timing.placement(),
	}
	if missing := state.Settings().Missing(n.cfg.Settings); v.Version >= ledger.OpSetting.Since() {
		v.Settings = missing
	}
	if v.Version >= ledger.OpSecret.Since() && state.Secret() == nil {
		op := ledger.Op{Kind: ledger.OpSecret}
		_, _ = rand.Read(op.Secret[:]) // never fails
		v.Settings = append(v.Settings, op)
	}
	next := state.NextExpiry()
	_, abandoned := state.Restoring(logTime)
	v.TickDue = next != 0 && next <= logTime || abandoned
	for _, s := range servers {
		v.Servers = append(v.Servers, placement.Server{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
		v.Nodes[string(s.ID)] = placement.Node{} // it may be that it was never seen
	}
	for id, r := range n.peers.all() {
		m := r.asMember()
		k, _ := n.heardOf(id)
		v.Nodes[id] = reported(placement.Node{
			Peer: m.Peer, Alive: m.state == "alive", Silence: n.silence(&k), Missed: k.Missed, Answers: n.Reachable(id),
		}, &k.Pong)
	}
	own := n.self(&ownership.Ping{})
	v.Nodes[n.cfg.NodeID] = reported(placement.Node{Peer: n.cfg.AdvertisePeer, Alive: true, Answers: true}, &own)
	for id, k := range v.Nodes {
		k.Removed = state.Removed(id)
		v.Nodes[id] = k
	}
	return v, nil
}

// reported adds to a node what it says of itself.
func reported(k placement.Node, p *ownership.Pong) placement.Node {
	k.Boot, k.Ready, k.Leaving, k.Reaches = p.Boot, p.Ready, p.Leaving, p.Reaches
	k.Applied, k.Epoch, k.Knows = p.AppliedIndex, p.AppliedEpoch, p.CommandVersion
	k.ImportedEpoch, k.Imported = p.Epoch, p.Imported
	return k
}

// servers returns the configuration of Raft.
func (n *Node) servers() ([]raft.Server, error) {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, err
	}
	return f.Configuration().Servers, nil
}

// act makes one change.
func (n *Node) act(a placement.Action) {
	var err error
	switch {
	case a.NameCluster:
		err = n.nameCluster()
	case a.Raise != 0:
		n.cfg.Log.Info("every node knows a newer version of commands: it is used from now on", "version", a.Raise)
		err = n.lead(ledger.Op{Kind: ledger.OpVersion, Version: a.Raise})
	case len(a.Settings) > 0:
		for _, op := range a.Settings {
			if op.Kind == ledger.OpSetting {
				n.cfg.Log.Info("this node leads, and its settings are the cluster's from now on", "setting", op.Setting.String())
			}
			op.By = ledger.ActorCluster
			err = errors.Join(err, n.lead(op))
		}
	case a.Tick:
		err = n.lead(ledger.Op{Kind: ledger.OpTick})
	case a.Join != nil:
		add := n.raft.AddNonvoter
		if a.Join.Voter {
			add = n.raft.AddVoter
		}
		err = n.joined(a.Join, add(raft.ServerID(a.Join.ID), raft.ServerAddress(a.Join.Address), 0, proposeFor))
	case a.Remove != nil:
		n.cfg.Log.Info("a removed node leaves the configuration", "id", a.Remove.ID)
		err = n.raft.RemoveServer(raft.ServerID(a.Remove.ID), 0, proposeFor).Error()
	case a.Map != nil:
		err = n.place(a.Map)
	}
	if err != nil {
		n.cfg.Log.Warn("the leader's change failed; it will look again", "err", err)
	}
}

// joined waits until a node is in the configuration, and notes it in the audit.
func (n *Node) joined(s *placement.Server, f raft.IndexFuture) error {
	if err := f.Error(); err != nil {
		return err
	}
	as := "nonvoter"
	if s.Voter {
		as = "voter"
	}
	return n.lead(ledger.Op{Kind: ledger.OpNote, By: ledger.ActorCluster, Note: &ledger.Note{
		Action: "node.join", Target: s.ID, Detail: as + " at " + s.Address,
	}})
}

func (n *Node) nameCluster() error {
	id := n.identity.ClusterID()
	if id == "" {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails
		id = hex.EncodeToString(b[:])
	}
	return n.lead(ledger.Op{Kind: ledger.OpClusterID, ClusterID: id})
}

func (n *Node) place(m *ledger.Map) error {
	unowned, moving := m.InTransition()
	n.cfg.Log.Info("placing partitions", "epoch", m.Epoch, "members", len(m.Members), "unowned", unowned, "moving", moving)
	return n.lead(ledger.Op{Kind: ledger.OpMap, Map: m})
}

// lead applies one operation of the leader's own.
func (n *Node) lead(op ledger.Op) error {
	ctx, cancel := context.WithTimeout(n.ctx, proposeFor)
	defer cancel()
	results, _, err := n.apply(ctx, []ledger.Op{op})
	if err != nil {
		return err
	}
	return results[0].Err
}
