package cluster

import (
	"context"
	"errors"
	"time"

	"quorate/cluster/ownership"
	"quorate/fsm/ledger"
)

// ErrAlone means that there is no other node to take over partitions.
var ErrAlone = errors.New("no other node is there to take over")

// Undrain lets the node own partitions again after a Drain.
func (n *Node) Undrain() { n.owners.leaving.Store(false) }

// Drain asks the leader to move this node's partitions to others, and waits
// until it owns none or ctx ends. Its error wraps ErrAlone if there is no other.
func (n *Node) Drain(ctx context.Context) error {
	n.owners.leaving.Store(true)
	if n.removed.Load() {
		return nil // its map is not updated any more
	}
	t := time.NewTicker(n.cfg.Timing.Ping / 4)
	defer t.Stop()
	self := ledger.Member{ID: n.cfg.NodeID, Boot: n.boot}
	for {
		if err := n.fault.Err(); err != nil {
			return err // the leader does not reach this node
		}
		m := n.cfg.FSM.Map()
		if len(m.Members) < 2 && len(m.Places) > 0 {
			return ErrAlone
		}
		if m.Owned()[n.cfg.NodeID] == 0 && !ownership.Owns(m, self) {
			return nil
		}
		n.wake()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Leaving reports whether the node drains.
func (n *Node) Leaving() bool { return n.owners.leaving.Load() }
