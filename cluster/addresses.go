package cluster

import (
	"errors"

	"github.com/hashicorp/raft"
)

// addresses are those of the nodes as gossip knows them. The log may hold old
// ones: were all nodes to come back at others, no majority could form that changes
// them.
type addresses struct{ n *Node }

var errNotSeen = errors.New("not seen by gossip yet")

// ServerAddr is raft.ServerAddressProvider. It is asked for each request, and
// Raft logs each error.
func (a addresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if string(id) == a.n.cfg.NodeID {
		return raft.ServerAddress(a.n.cfg.AdvertisePeer), nil
	}
	if r := a.n.peers.get(string(id)); r != nil {
		if addr := r.addr(); addr != "" {
			return raft.ServerAddress(addr), nil
		}
	}
	if r := a.n.started.Load(); r != nil {
		if f := r.GetConfiguration(); f.Error() == nil {
			if s := find(f.Configuration().Servers, string(id)); s != nil {
				return s.Address, nil
			}
		}
	}
	return "", errNotSeen
}
