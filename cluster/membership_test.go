package cluster

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"quorate/cluster/storage"
)

func TestFounders(t *testing.T) {
	fresh := func(expect int, ids ...string) map[string]member {
		out := map[string]member{}
		for _, id := range ids {
			out[id] = member{meta: meta{ID: id, Expect: expect}}
		}
		return out
	}
	with := func(m map[string]member, id string, change func(*member)) map[string]member {
		k := m[id]
		change(&k)
		m[id] = k
		return m
	}
	for name, c := range map[string]struct {
		members map[string]member
		expect  int
		steady  bool
		want    string
	}{
		"all that are expected":       {fresh(3, "n1", "n2", "n3"), 3, false, "[n1 n2 n3]"},
		"one alone":                   {fresh(1, "n1"), 1, false, "[n1]"},
		"one is missing":              {fresh(3, "n1", "n2"), 3, true, "2 of 3 nodes are seen"},
		"one too many, just now":      {fresh(3, "n1", "n2", "n3", "n4"), 3, false, ""},
		"one too many, for a while":   {fresh(3, "n1", "n2", "n3", "n4"), 3, true, "[n1 n2 n3]"},
		"they expect different nodes": {with(fresh(3, "n1", "n2", "n3"), "n2", func(m *member) { m.Expect = 5 }), 3, true, "the nodes disagree: n1 has --bootstrap-expect 3, n2 5"},
		"one only joins":              {with(fresh(3, "n1", "n2", "n3"), "n2", func(m *member) { m.Expect = 0 }), 3, true, "the nodes disagree: n1 has --bootstrap-expect 3, n2 0"},
		"one has data":                {with(fresh(3, "n1", "n2", "n3"), "n3", func(m *member) { m.Formed = true }), 3, true, ""},
		"this one only joins":         {fresh(0, "n1"), 0, true, "no node of a cluster is seen, and --bootstrap-expect is 0"},
	} {
		ids, why := founders(c.members, "n1", c.expect, c.steady)
		got := why
		if ids != nil {
			got = fmt.Sprint(ids)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

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
		f := founding{cluster: cluster, ids: ids}
		arg, err := f.encode()
		if err != nil {
			t.Fatal(err)
		}
		return n.serveFound(arg)
	}
	for what, err := range map[string]error{
		"a cluster without it":       propose("c1", "n1", "n2", "n4"),
		"a cluster of another size":  propose("c1", "n3"),
		"a cluster without a name":   propose("", "n1", "n2", "n3"),
		"what is no proposal at all": n.serveFound([]byte{0xc1}),
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
	n.formed.Store(true)
	if err := propose("c1", "n1", "n2", "n3"); err == nil {
		t.Error("it agreed with data of its own")
	}
}

func TestPromotions(t *testing.T) {
	well := func(n int) (ids []raft.ServerID) {
		for i := range n {
			ids = append(ids, raft.ServerID(fmt.Sprint("n", 9-i)))
		}
		return ids
	}
	for _, c := range []struct {
		voting, most int
		well         int
		want         []raft.ServerID
	}{
		{1, 3, 1, []raft.ServerID{"n9"}},
		{1, 3, 4, []raft.ServerID{"n6", "n7"}},
		{2, 3, 0, nil},
		{2, 3, 2, []raft.ServerID{"n8"}},
		{3, 3, 2, nil},
		{5, 3, 2, nil},
		{3, 5, 4, []raft.ServerID{"n6", "n7"}},
	} {
		if got := promotions(c.voting, c.most, well(c.well)); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
