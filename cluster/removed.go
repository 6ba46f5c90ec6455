package cluster

import (
	"errors"
	"fmt"
)

// ErrRemoved ends a node that was removed by order.
var ErrRemoved = errors.New("this node was removed from the cluster by order; to take part again, start it with another --node-id and an empty --data-dir")

// Removed delivers an error when this node was removed from the cluster, by the
// word of another node that has taken it out of its configuration.
func (n *Node) Removed() <-chan error { return n.removedErr }

// noteRemoved notes that this node was removed.
func (n *Node) noteRemoved(by string) {
	if !n.removed.Swap(true) {
		n.cfg.Log.Error("removed from the cluster", "says", by)
		n.removedErr <- fmt.Errorf("%w (%s says so)", ErrRemoved, by)
	}
}

// gone reports whether a node was removed by order and has left the configuration.
// Until then it hands over what it owns.
func (n *Node) gone(id string) bool {
	if !n.cfg.FSM.State().Removed(id) {
		return false
	}
	servers, err := n.servers()
	return err == nil && find(servers, id) == nil
}
