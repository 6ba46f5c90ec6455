package cluster

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"quorate/cluster/peer"
)

// keySeat is where the id of the cluster stands that a disk belongs to: beside
// the log, so that the two can only be lost together.
var keySeat = []byte("quorate-cluster")

// seat is a node's place in one cluster. A disk has it before Raft writes
// anything there: a node that the cluster knows, with a disk that has no seat,
// has lost what it once acknowledged.
type seat struct {
	store raft.StableStore
	id    string // of the node

	mu      sync.Mutex
	cluster string // empty: none yet; guarded by mu
	old     bool   // there is state from before seats were kept; guarded by mu
}

func openSeat(store raft.StableStore, id string) (*seat, error) {
	b, err := store.Get(keySeat)
	if err != nil && !isMissing(err) {
		return nil, err
	}
	return &seat{store: store, id: id, cluster: string(b)}, nil
}

// of returns the id of the cluster, empty without one.
func (s *seat) of() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cluster
}

// take makes the disk one of that cluster.
func (s *seat) take(cluster string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster == cluster {
		return nil
	}
	if err := s.store.Set(keySeat, []byte(cluster)); err != nil {
		return fmt.Errorf("note the cluster: %w", err)
	}
	s.cluster, s.old = cluster, false
	return nil
}

// hello is what this node says at the door of another.
func (s *seat) hello() peer.Hello { return peer.Hello{Cluster: s.of(), From: s.id} }

var errNotSeated = errors.New("this node is in no cluster yet")

// admit looks at who comes: nobody from another cluster, and to Raft only who is
// in this one. A node without a disk's seat must hear nothing of Raft: it would
// acknowledge with a log that may have lost what it acknowledged before.
func (s *seat) admit(magic string, h peer.Hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.cluster != "" && h.Cluster != "" && s.cluster != h.Cluster:
		return fmt.Errorf("node %s is of cluster %s, node %s of cluster %s", h.From, h.Cluster, s.id, s.cluster)
	case magic == peer.MagicRaft && s.cluster == "" && !s.old:
		return errNotSeated
	case magic == peer.MagicRaft && h.Cluster == "":
		return fmt.Errorf("node %s is in no cluster yet", h.From)
	}
	return nil
}
