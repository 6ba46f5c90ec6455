package cluster

import (
	"errors"
	"fmt"
)

// ErrRemoved ends a node that was removed by order.
var ErrRemoved = errors.New("this node was removed from the cluster by order; to take part again, start it with another --node-id and an empty --data-dir")

// Removed returns a channel that delivers an error once another node has answered that
// this node was removed from the cluster.
func (n *Node) Removed() <-chan error { return n.removedErr }

// noteRemoved notes that this node was removed.
func (n *Node) noteRemoved(by string) {
	if !n.removed.Swap(true) {
		n.cfg.Log.Error("removed from the cluster", "reported_by", by)
		n.removedErr <- fmt.Errorf("%w (reported by %s)", ErrRemoved, by)
	}
}

// gone reports whether a node was removed by order and has left the configuration.
// Until then it hands over its partitions.
func (n *Node) gone(id string) bool {
	if !n.cfg.FSM.State().Removed(id) {
		return false
	}
	servers, err := n.servers()
	return err == nil && find(servers, id) == nil
}
