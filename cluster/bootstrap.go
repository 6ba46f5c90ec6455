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

// askFor bounds a question of founding or admission.
const askFor = time.Second

// founding is what the first of the founders proposes to the others.
type founding struct {
	cluster string
	ids     []string // sorted; the first proposes
}

func (f *founding) encode() ([]byte, error) {
	w := codec.NewWriter()
	w.Array(2)
	w.String(f.cluster)
	w.Array(len(f.ids))
	for _, id := range f.ids {
		w.String(id)
	}
	return w.Finish()
}

func decodeFounding(b []byte) (f founding, err error) {
	r := codec.NewReader(b)
	r.Array(2)
	f.cluster = r.String(ledger.MaxNodeID)
	f.ids = codec.List(r, placement.MaxFounders, func() string { return r.String(ledger.MaxNodeID) })
	return f, r.End()
}

// found has the others agree, then writes the first configuration. Each node
// notes the cluster on its disk, once, before there is one: two views of who is
// there can so never make two clusters that share a node.
func (n *Node) found(members map[string]member, ids []string) error {
	f := founding{cluster: n.identity.ClusterID(), ids: ids}
	if f.cluster == "" {
		var id [16]byte
		_, _ = rand.Read(id[:]) // never fails
		f.cluster = hex.EncodeToString(id[:])
	}
	// This node first: should it end here, it goes on with the same id.
	if err := n.identity.SetClusterID(f.cluster); err != nil {
		return err
	}
	arg, err := f.encode()
	if err != nil {
		return err
	}
	var c raft.Configuration
	for i, id := range ids {
		if id != n.cfg.NodeID {
			r, err := n.remote(id)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(n.ctx, askFor)
			_, err = r.client.Call(ctx, methodFound, arg)
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

// serveFound agrees to a cluster, or to the one agreed to before.
func (n *Node) serveFound(arg []byte) error {
	f, err := decodeFounding(arg)
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
		return fmt.Errorf("agreed to found cluster %s before; if that one never came to be, clear the data directory", own)
	}
	if err := n.identity.SetClusterID(f.cluster); err != nil {
		return err
	}
	n.tellMeta()
	return nil
}

// markFormed lets the others know that this node has Raft state.
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
