package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/placement"
	"quorate/fsm/ledger"
	"quorate/limiter/codec"
)

// askFor bounds a call that asks another node to form a cluster, or to join one.
const askFor = time.Second

// proposal is the cluster that the first of the founders proposes to the others.
type proposal struct {
	cluster string
	ids     []string // sorted; the first proposes
}

func (f *proposal) encode() ([]byte, error) {
	w := codec.NewWriter()
	w.Array(2)
	w.String(f.cluster)
	w.Array(len(f.ids))
	for _, id := range f.ids {
		w.String(id)
	}
	return w.Finish()
}

func decodeBootstrap(b []byte) (f proposal, err error) {
	r := codec.NewReader(b)
	r.Array(2)
	f.cluster = r.String(ledger.MaxNodeID)
	f.ids = codec.List(r, placement.MaxFounders, func() string { return r.String(ledger.MaxNodeID) })
	return f, r.End()
}

// bootstrap asks the other founders to agree, then writes the first configuration.
// Each founder notes the cluster on its disk, once, before there is a cluster: so
// two different views of the nodes cannot form two clusters that share a node.
func (n *Node) bootstrap(members map[string]member, ids []string) error {
	// Before this node agrees to its own proposal: gossip sees a node one beat before it
	// can be asked, and a proposal that only its proposer has agreed to stands in the way
	// of every other once more nodes are seen.
	others := map[string]*remote{}
	for _, id := range ids {
		if id == n.cfg.NodeID {
			continue
		}
		r, err := n.remote(id)
		if err != nil {
			return err
		}
		others[id] = r
	}
	f := proposal{cluster: n.identity.ClusterID(), ids: ids}
	if f.cluster == "" {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails
		f.cluster = hex.EncodeToString(id[:])
	}
	// This node first: if it stops here, it goes on with the same id.
	if err := n.identity.SetClusterID(f.cluster); err != nil {
		return err
	}
	arg, err := f.encode()
	if err != nil {
		return err
	}
	var c raft.Configuration
	for i, id := range ids {
		if r := others[id]; r != nil {
			ctx, cancel := context.WithTimeout(n.ctx, askFor)
			_, err := r.client.Call(ctx, methodBootstrap, arg)
			cancel()
			if err != nil {
				return fmt.Errorf("node %s does not agree: %w", id, err)
			}
		}
		s := raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(members[id].Peer)}
		if i >= n.cfg.Voters {
			s.Suffrage = raft.Nonvoter
		}
		c.Servers = append(c.Servers, s)
	}
	if err := n.raft.BootstrapCluster(c).Error(); err != nil {
		return err
	}
	n.cfg.Log.Info("formed a cluster", "id", f.cluster, "nodes", ids)
	n.markFormed()
	return nil
}

// serveBootstrap agrees to a cluster, or again to the one agreed to before.
func (n *Node) serveBootstrap(arg []byte) error {
	f, err := decodeBootstrap(arg)
	if err != nil {
		return err
	}
	own := n.identity.ClusterID()
	switch {
	case f.cluster == "" || !slices.Contains(f.ids, n.cfg.NodeID):
		return errors.New("not asked to take part")
	case n.startup.formed.Load() || n.raft.LastIndex() > 0:
		return errors.New("in a cluster already")
	case len(f.ids) != n.cfg.BootstrapExpect:
		return fmt.Errorf("--bootstrap-expect is %d here", n.cfg.BootstrapExpect)
	case own != "" && own != f.cluster:
		return fmt.Errorf("agreed to form cluster %s before; if that one never came to be, clear the data directory", own)
	}
	if err := n.identity.SetClusterID(f.cluster); err != nil {
		return err
	}
	n.tellMeta()
	return nil
}

// markFormed tells gossip that this node has Raft state.
func (n *Node) markFormed() {
	if !n.startup.formed.Swap(true) {
		n.tellMeta()
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
