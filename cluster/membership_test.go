package cluster

import (
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"quorate/cluster/peer"
	"quorate/cluster/storage"
)

// freshNode is a node before it has a cluster, without network.
func freshNode(t *testing.T, id string, expect int) (*Node, raft.StableStore) {
	t.Helper()
	log := raft.NewInmemStore()
	identity, err := storage.ReadIdentity(log, false)
	if err != nil {
		t.Fatal(err)
	}
	_, trans := raft.NewInmemTransport(raft.ServerAddress(id))
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = raft.ServerID(id), hclog.NewNullLogger()
	r, err := raft.NewRaft(c, &raft.MockFSM{}, log, log, raft.NewInmemSnapshotStore(), trans)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown().Error(); err != nil {
			t.Error(err)
		}
	})
	n := &Node{
		cfg:      Config{NodeID: id, BootstrapExpect: expect, Log: slog.New(slog.NewTextHandler(io.Discard, nil))},
		identity: identity, raft: r, fault: storage.NewFault(),
	}
	return n, log
}

// TestANodeAgreesToOneClusterOnly: whatever the views of those that propose, no
// two clusters share a node.
func TestANodeAgreesToOneClusterOnly(t *testing.T) {
	n, log := freshNode(t, "n3", 3)
	propose := func(cluster string, ids ...string) error {
		f := proposal{cluster: cluster, ids: ids}
		arg, err := f.encode()
		if err != nil {
			t.Fatal(err)
		}
		return n.serveBootstrap(arg)
	}
	for what, err := range map[string]error{
		"a cluster without it":       propose("c1", "n1", "n2", "n4"),
		"a cluster of another size":  propose("c1", "n3"),
		"a cluster without a name":   propose("", "n1", "n2", "n3"),
		"what is no proposal at all": n.serveBootstrap([]byte{0xc1}),
	} {
		if err == nil || n.identity.ClusterID() != "" {
			t.Errorf("it agreed to %s", what)
		}
	}
	for range 2 { // the answer may have been lost
		if err := propose("c1", "n1", "n2", "n3"); err != nil {
			t.Error(err)
		}
	}
	if err := propose("c2", "n3", "n4", "n5"); err == nil {
		t.Error("it agreed to a second cluster")
	}
	// Nor after a restart, as its disk remembers.
	again, err := storage.ReadIdentity(log, false)
	if err != nil || again.ClusterID() != "c1" {
		t.Errorf("%+v %v", again, err)
	}
	n.startup.formed.Store(true)
	if err := propose("c1", "n1", "n2", "n3"); err == nil {
		t.Error("it agreed with data of its own")
	}
}

// TestAProposalNeedsNodesThatCanBeAsked: a node that gossip has just seen cannot be
// asked before the next beat. The proposer agrees to nothing until then: it would
// refuse the proposal of another node that sees more.
func TestAProposalNeedsNodesThatCanBeAsked(t *testing.T) {
	n, _ := freshNode(t, "n2", 3)
	members := map[string]member{"n2": {}, "n4": {}, "n5": {}}
	if err := n.bootstrap(members, []string{"n2", "n4", "n5"}); !errors.Is(err, peer.ErrNotSent) {
		t.Errorf("%v", err)
	}
	if id := n.identity.ClusterID(); id != "" {
		t.Errorf("the proposer has agreed to cluster %s", id)
	}
}
