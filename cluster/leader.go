package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/lease"
	"quorate/cluster/ownership"
	"quorate/cluster/ring"
	"quorate/fsm/ledger"
)

// caughtUp is how many entries a node may lack when it first gets partitions.
const caughtUp = 100

// leaderLoop looks after a write that is on its way to the leader, and keeps the
// cluster as it should be while this node leads: gather, decide, apply one change, and
// look again.
func (n *Node) leaderLoop() {
	t := time.NewTicker(n.cfg.Timing.Ping)
	defer t.Stop()
	var led time.Time
	warned := map[string]uint64{}     // nodes kept out, and in which life that was said
	ordered := map[string]time.Time{} // removals, since this node leads and knows of them
	pilot := n.newAutopilot()
	defer func() { <-pilot.Stop() }()
	var over *lease.Handover // since this node leads; a new leader waits anew
	for {
		select {
		case <-t.C:
			if s := n.sent.Load(); s != nil {
				_, leader := n.raft.LeaderWithID()
				s.look(string(leader))
			}
		case <-n.kick:
		case <-n.ctx.Done():
			return
		}
		if n.raft.State() != raft.Leader {
			if !led.IsZero() {
				<-pilot.Stop()
			}
			led, over = time.Time{}, nil
			clear(ordered)
			continue
		}
		if led.IsZero() {
			led = time.Now()
			pilot.Start(n.ctx)
		}
		v, err := n.gather(led)
		if err != nil {
			n.cfg.Log.Debug("gather", "err", err)
			continue
		}
		if over == nil || over.Epoch() != v.owners.Epoch {
			over = lease.NewHandover(terms(v.owners))
		}
		v.passed = over.Observe(v.applied, time.Since(led))
		v.removing(ordered)
		n.warn(v, warned)
		n.act(decide(v))
	}
}

// view is all that a decision of the leader is made from.
type view struct {
	clusterID string
	owners    *ledger.Map
	servers   []raft.Server
	nodes     map[string]nodeView // by id, this one too
	applied   map[string]uint64   // the epoch that each node has applied
	released  []bool              // by partition: it was handed over in this epoch
	passed    bool                // nobody can hold what the map has taken away
	expiry    bool                // an override has run out, or a restore was left
	version   uint64              // of commands, in force
	timing    Timing
	leading   time.Duration
	apart     bool // this node reached no majority until a moment ago
}

type nodeView struct {
	peer    string
	alive   bool // gossip says so, and its own words reach us
	up      bool // it answers pings, or those of a voter that answers ours
	ready   bool // it may decide, and lacks few entries
	leaving bool
	applied uint64 // log index
	boot    uint64
	knows   uint64        // the newest version of commands; 0: never heard of it
	removed bool          // by order: it is to leave the cluster
	since   time.Duration // that this leader has known of it
}

// warn says of each node that is too old to join, once.
func (n *Node) warn(v view, warned map[string]uint64) {
	for id, k := range v.nodes {
		if k.alive && k.knows != 0 && k.tooOld(v.version) && find(v.servers, id) == nil && warned[id] != k.boot {
			warned[id] = k.boot
			n.cfg.Log.Warn("a node may not join: its program is older than the cluster's commands", "id", id, "knows", k.knows, "in_force", v.version)
		}
	}
}

// tooOld reports whether a node knows less than is in force: it would stop at
// once. One that was never heard is not known to.
func (k *nodeView) tooOld(version uint64) bool { return k.knows < version }

func (n *Node) gather(led time.Time) (view, error) {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return view{}, err
	}
	v := view{
		clusterID: n.cfg.FSM.ClusterID(), owners: n.cfg.FSM.Map(), servers: f.Configuration().Servers,
		nodes: map[string]nodeView{}, applied: map[string]uint64{}, leading: time.Since(led), timing: n.cfg.Timing,
	}
	v.apart = v.owners.Epoch > 0 && n.majorityBeats() < n.owners.timing.LostBeats()
	state, now := n.cfg.FSM.State(), n.now()
	next := state.NextExpiry()
	_, left := state.Restoring(now)
	v.expiry, v.version = next != 0 && next <= now || left, state.Version()
	commit := n.raft.CommitIndex()
	v.nodes[n.cfg.NodeID] = nodeView{
		peer: n.cfg.AdvertisePeer, alive: true, up: true, ready: n.ready.Load(), boot: n.boot, leaving: n.Leaving(), applied: n.cfg.FSM.Index(), knows: ledger.NewestVersion(),
	}
	v.applied[n.cfg.NodeID] = v.owners.Epoch
	own := n.self(&ownership.Ping{})
	v.release(own.Epoch, own.Imported)
	for id, r := range n.peers.all() {
		m := r.asMember()
		k, _ := n.heardOf(id)
		p := &k.Pong
		v.applied[id] = p.AppliedEpoch
		v.release(p.Epoch, p.Imported)
		up := !k.Silent(n.cfg.Now(), &n.owners.timing)
		v.nodes[id] = nodeView{
			peer: m.Peer, alive: m.state == "alive" && up, up: up || n.vouched(id, v.servers),
			ready: p.Ready && p.AppliedIndex+caughtUp >= commit, boot: p.Boot, leaving: p.Leaving, applied: p.AppliedIndex, knows: p.CommandVersion,
		}
	}
	for _, s := range v.servers {
		if _, ok := v.nodes[string(s.ID)]; !ok {
			v.nodes[string(s.ID)] = nodeView{} // never seen in this life
		}
	}
	for id, k := range v.nodes {
		if k.removed = state.Removed(id); k.removed {
			k.leaving = true
			v.nodes[id] = k
		}
	}
	return v, nil
}

// vouched reports whether a voter that this node reaches reaches the one given:
// one cut link must not cost its partitions.
func (n *Node) vouched(id string, servers []raft.Server) bool {
	for _, s := range servers {
		if s.Suffrage != raft.Voter || string(s.ID) == id || !n.Reachable(string(s.ID)) {
			continue
		}
		if k, _ := n.heardOf(string(s.ID)); slices.Contains(k.Pong.Reaches, id) {
			return true
		}
	}
	return false
}

// removing notes for how long each removal has been under way.
func (v *view) removing(ordered map[string]time.Time) {
	for _, s := range v.servers {
		id := string(s.ID)
		k := v.nodes[id]
		if !k.removed {
			continue
		}
		if ordered[id].IsZero() {
			ordered[id] = time.Now()
		}
		k.since = time.Since(ordered[id])
		v.nodes[id] = k
	}
}

// release notes what a node holds by handovers of this epoch.
func (v *view) release(epoch uint64, holding []byte) {
	if epoch != v.owners.Epoch || len(holding) == 0 {
		return
	}
	if v.released == nil {
		v.released = make([]bool, ledger.Partitions)
	}
	for p := range v.released {
		if p/8 < len(holding) && holding[p/8]>>(p%8)&1 == 1 {
			v.released[p] = true
		}
	}
}

// action is one safe change; the zero action is none.
type action struct {
	name  bool   // give the cluster an id
	tick  bool   // move the log's time on
	raise uint64 // the version of commands to put in force
	join  *raft.Server
	drop  *raft.Server // removed by order
	place *ledger.Map  // the next one
}

// decide chooses the next change. It is pure.
func decide(v view) action {
	if v.clusterID == "" {
		return action{name: true}
	}
	if v.expiry {
		return action{tick: true}
	}
	if common := commonVersion(v); common > v.version {
		return action{raise: common}
	}
	if s := joining(v); s != nil {
		return action{join: s}
	}
	if s := dropping(v); s != nil {
		return action{drop: s}
	}
	return action{place: placing(v)}
}

// commonVersion returns the newest version of commands that every node of the
// cluster is known to know.
func commonVersion(v view) uint64 {
	common := ledger.NewestVersion()
	for _, s := range v.servers {
		common = min(common, v.nodes[string(s.ID)].knows)
	}
	return common
}

// placing returns the next ownership map, nil when the one in force is right.
func placing(v view) *ledger.Map {
	look := ring.View{Table: tableOf(v.owners), Passed: v.passed, Released: v.released}
	missing := 0
	var grantors []string
	for _, s := range v.servers {
		id := string(s.ID)
		k, known := v.nodes[id]
		if s.Suffrage == raft.Voter && len(grantors) < ledger.MaxGrantors && !(k.removed && removable(v, id) == nil) {
			grantors = append(grantors, id)
		}
		node := ring.Node{Life: ring.Life{ID: id, Boot: k.boot}, Lost: !known || !k.up, Leaving: k.leaving}
		node.Unfit = !k.ready && v.owners.Boot(id) != k.boot
		if node.Lost && v.apart {
			return nil // who was cut off itself has not heard yet who lives
		}
		if node.Lost || node.Unfit {
			missing++
		}
		look.Nodes = append(look.Nodes, node)
	}
	slices.Sort(grantors)
	if missing == len(look.Nodes) || v.owners.Epoch == 0 && missing > 0 && v.leading < v.timing.Settle {
		return nil // a first map that lacks a node would have to move much
	}
	next, changed := ring.Next(look, ledger.Partitions)
	m := mapOf(next)
	m.Epoch, m.Lease, m.Drift = v.owners.Epoch+1, v.timing.OwnerLease, v.timing.OwnerLease/50
	m.Grantors, m.Retiring = v.owners.Grantors, v.owners.Retiring
	switch {
	case len(m.Retiring) > 0 && v.passed:
		m.Retiring, changed = nil, true
	case len(m.Retiring) == 0 && !slices.Equal(m.Grantors, grantors):
		m.Grantors, m.Retiring, changed = grantors, m.Grantors, true
	}
	if !changed {
		return nil
	}
	return m
}

// terms are a map's terms of leases.
func terms(m *ledger.Map) lease.Terms {
	return lease.Terms{Epoch: m.Epoch, Grantors: m.Grantors, Retiring: m.Retiring, Length: m.Lease, Drift: m.Drift}
}

func tableOf(m *ledger.Map) ring.Table {
	t := ring.Table{Places: m.Places, Moving: m.Moving}
	for _, k := range m.Members {
		t.Members = append(t.Members, ring.Life(k))
	}
	return t
}

func mapOf(t ring.Table) *ledger.Map {
	m := &ledger.Map{Places: t.Places, Moving: t.Moving}
	for _, k := range t.Members {
		m.Members = append(m.Members, ledger.Member(k))
	}
	return m
}

// joining returns a living node that Raft does not know, or knows under another
// address.
func joining(v view) *raft.Server {
	known := map[string]raft.Server{}
	for _, s := range v.servers {
		known[string(s.ID)] = s
	}
	for _, id := range sortedIDs(v.nodes) {
		k := v.nodes[id]
		s, ok := known[id]
		if !k.alive || k.removed || k.peer == "" || k.tooOld(v.version) || (ok && string(s.Address) == k.peer) {
			continue // one that knows less than is in force would stop at once
		}
		if !ok {
			s = raft.Server{Suffrage: raft.Nonvoter, ID: raft.ServerID(id)} // its vote may come later
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
	case a.raise != 0:
		n.cfg.Log.Info("every node knows a newer version of commands: it is used from now on", "version", a.raise)
		err = n.lead(ledger.Op{Kind: ledger.OpVersion, Version: a.raise})
	case a.tick:
		err = n.lead(ledger.Op{Kind: ledger.OpTick})
	case a.join != nil && a.join.Suffrage == raft.Voter:
		err = n.joined(a.join, n.raft.AddVoter(a.join.ID, a.join.Address, 0, proposeFor))
	case a.join != nil:
		err = n.joined(a.join, n.raft.AddNonvoter(a.join.ID, a.join.Address, 0, proposeFor))
	case a.drop != nil:
		n.cfg.Log.Info("a removed node leaves the configuration", "id", string(a.drop.ID))
		err = n.raft.RemoveServer(a.drop.ID, 0, proposeFor).Error()
	case a.place != nil:
		err = n.place(a.place)
	default:
		return
	}
	if err != nil {
		n.cfg.Log.Warn("leader's change failed; it will look again", "err", err)
	}
}

// joined waits until a node is in the configuration, and notes it in the audit.
func (n *Node) joined(s *raft.Server, f raft.IndexFuture) error {
	if err := f.Error(); err != nil {
		return err
	}
	return n.lead(ledger.Op{Kind: ledger.OpNote, By: ledger.ActorCluster, Note: &ledger.Note{
		Action: "node.join", Target: string(s.ID), Detail: strings.ToLower(s.Suffrage.String()) + " at " + string(s.Address),
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
	drained, moving := m.Unsettled()
	n.cfg.Log.Info("placing partitions", "epoch", m.Epoch, "members", len(m.Members), "drained", drained, "moving", moving)
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
