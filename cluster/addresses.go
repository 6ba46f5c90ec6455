package cluster

import (
	"errors"
	"net"
	"strconv"

	"github.com/hashicorp/raft"
)

// addresses provides the addresses that gossip knows. Those in the log may be old: if
// all nodes returned at other addresses, no majority could form to change them.
type addresses struct{ n *Node }

var errNotSeen = errors.New("not seen by gossip yet")

// ServerAddr implements raft.ServerAddressProvider. Raft calls it for each request and
// logs each error.
func (a addresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if string(id) == a.n.cfg.NodeID {
		return raft.ServerAddress(a.n.cfg.AdvertisePeer), nil
	}
	if r := a.n.peers.get(string(id)); r != nil {
		if addr := r.addr(); addr != "" {
			return raft.ServerAddress(addr), nil
		}
	}
	if r := a.n.raftIO.started.Load(); r != nil {
		if f := r.GetConfiguration(); f.Error() == nil {
			if s := find(f.Configuration().Servers, string(id)); s != nil {
				return s.Address, nil
			}
		}
	}
	return "", errNotSeen
}

// splitAddr splits a host:port. An empty host is every interface.
func splitAddr(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if host == "" {
		host = "0.0.0.0"
	}
	port, err = strconv.Atoi(p)
	return host, port, err
}

// resolveAddr splits a host:port and resolves the host.
func resolveAddr(addr string) (host string, port int, err error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return "", 0, err
	}
	return a.IP.String(), a.Port, nil
}
