package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/ring"
	"quorate/fsm/ledger"
)

// voters is how many nodes vote; further ones hold a full copy without a vote.
const voters = 3

// caughtUp is how many entries a node may lack when it first gets partitions.
const caughtUp = 100

// leaderLoop keeps the cluster as it should be while this node leads: gather,
// decide, apply one change, and look again.
func (n *Node) leaderLoop() {
	t := time.NewTicker(n.cfg.Timing.Ping)
	defer t.Stop()
	var led time.Time
	for {
		select {
		case <-t.C:
		case <-n.kick:
		case <-n.ctx.Done():
			return
		}
		if n.raft.State() != raft.Leader {
			led = time.Time{}
			continue
		}
		if led.IsZero() {
			led = time.Now()
		}
		v, err := n.gather(led)
		if err != nil {
			n.cfg.Log.Debug("gather", "err", err)
			continue
		}
		n.act(decide(v))
	}
}

// view is all that a decision of the leader is made from.
type view struct {
	clusterID string
	owners    *ledger.Map
	servers   []raft.Server
	nodes     map[string]nodeView // by id, this one too
	expiry    bool                // an override has run out
	leading   time.Duration
	settle    time.Duration
}

type nodeView struct {
	peer  string
	alive bool // gossip says so, and its own words reach us
	up    bool // it answers pings
	ready bool // it may decide, and lacks few entries
	boot  uint64
}

func (n *Node) gather(led time.Time) (view, error) {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return view{}, err
	}
	v := view{
		clusterID: n.cfg.FSM.ClusterID(), owners: n.cfg.FSM.Map(), servers: f.Configuration().Servers,
		nodes: map[string]nodeView{}, leading: time.Since(led), settle: n.cfg.Timing.Settle,
	}
	if next := n.cfg.FSM.State().NextExpiry(); next != 0 && next <= n.now() {
		v.expiry = true
	}
	commit := n.raft.CommitIndex()
	v.nodes[n.cfg.NodeID] = nodeView{
		peer: n.cfg.AdvertisePeer, alive: true, up: true, ready: n.ready.Load(), boot: n.disk.boot,
	}
	for id, r := range n.peers.all() {
		m, h, heard := r.state()
		up := time.Since(heard) < n.cfg.Timing.Lost
		v.nodes[id] = nodeView{
			peer: m.Peer, alive: m.state == "alive" && up, up: up,
			ready: h.ready && h.applied+caughtUp >= commit, boot: h.boot,
		}
	}
	return v, nil
}

// action is one safe change; the zero action is none.
type action struct {
	name  bool // give the cluster an id
	tick  bool // move the log's time on
	join  *raft.Server
	place []ledger.Member // the members of the next map
	prev  *ledger.Map
}

// decide chooses the next change. It is pure.
func decide(v view) action {
	if v.clusterID == "" {
		return action{name: true}
	}
	if v.expiry {
		return action{tick: true}
	}
	if s := joining(v); s != nil {
		return action{join: s}
	}
	var members []ledger.Member
	missing := 0
	for _, s := range v.servers {
		k, known := v.nodes[string(s.ID)]
		was := slices.ContainsFunc(v.owners.Members, func(m ledger.Member) bool { return m.ID == string(s.ID) && m.Boot == k.boot })
		if known && k.up && (k.ready || was) {
			members = append(members, ledger.Member{ID: string(s.ID), Boot: k.boot})
		} else {
			missing++
		}
	}
	slices.SortFunc(members, func(a, b ledger.Member) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	switch {
	case len(members) == 0, slices.Equal(members, v.owners.Members):
		return action{}
	case v.owners.Epoch == 0 && missing > 0 && v.leading < v.settle:
		return action{} // a first map that lacks a node would have to move much
	}
	return action{place: members, prev: v.owners}
}

// joining returns a living node that Raft does not know, or knows under another
// address.
func joining(v view) *raft.Server {
	voting := 0
	known := map[string]raft.Server{}
	for _, s := range v.servers {
		known[string(s.ID)] = s
		if s.Suffrage == raft.Voter {
			voting++
		}
	}
	for _, id := range sortedIDs(v.nodes) {
		k := v.nodes[id]
		s, ok := known[id]
		if !k.alive || k.peer == "" || (ok && string(s.Address) == k.peer) {
			continue
		}
		if !ok {
			s = raft.Server{Suffrage: raft.Nonvoter, ID: raft.ServerID(id)}
			if voting < voters {
				s.Suffrage = raft.Voter
			}
		}
		s.Address = raft.ServerAddress(k.peer)
		return &s
	}
	return nil
}

func (n *Node) act(a action) {
	var err error
	switch {
	case a.name:
		err = n.nameCluster()
	case a.tick:
		err = n.lead(ledger.Op{Kind: ledger.OpTick})
	case a.join != nil && a.join.Suffrage == raft.Voter:
		err = n.raft.AddVoter(a.join.ID, a.join.Address, 0, proposeFor).Error()
	case a.join != nil:
		err = n.raft.AddNonvoter(a.join.ID, a.join.Address, 0, proposeFor).Error()
	case a.place != nil:
		err = n.placeMembers(a.prev, a.place)
	default:
		return
	}
	if err != nil {
		n.cfg.Log.Warn("leader's change failed; it will look again", "err", err)
	}
}

func (n *Node) nameCluster() error {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return n.lead(ledger.Op{Kind: ledger.OpClusterID, ClusterID: hex.EncodeToString(id[:])})
}

func (n *Node) placeMembers(prev *ledger.Map, members []ledger.Member) error {
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.ID
	}
	was := ring.Table{Places: prev.Places}
	for _, m := range prev.Members {
		was.Members = append(was.Members, m.ID)
	}
	next := ring.Next(was, ids, ledger.Partitions)
	n.cfg.Log.Info("placing partitions", "epoch", prev.Epoch+1, "members", ids)
	return n.lead(ledger.Op{
		Kind: ledger.OpMap, Map: &ledger.Map{Epoch: prev.Epoch + 1, Members: members, Places: next.Places},
	})
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
