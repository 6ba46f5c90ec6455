package transport

import (
	"strings"
	"testing"

	"quorate/cluster/peer"
)

type identity struct {
	cluster string
	legacy  bool
}

func (i identity) Get() (string, bool) { return i.cluster, i.legacy }

func TestAdmission(t *testing.T) {
	for name, c := range map[string]struct {
		own   string
		old   bool
		magic string
		from  string
		want  string // in the refusal; empty: let in
	}{
		"a node of the cluster":               {"c1", false, peer.MagicRaft, "c1", ""},
		"its peer traffic":                    {"c1", false, peer.MagicPeer, "c1", ""},
		"a node of another":                   {"c1", false, peer.MagicRaft, "c2", "of cluster c2"},
		"the same on the peer protocol":       {"c1", false, peer.MagicPeer, "c2", "of cluster c2"},
		"one that asks to be let in":          {"c1", false, peer.MagicPeer, "", ""},
		"Raft of a node without a cluster":    {"c1", false, peer.MagicRaft, "", "in no cluster yet"},
		"Raft at a node without a cluster":    {"", false, peer.MagicRaft, "c1", "in no cluster yet"},
		"a question to one without a cluster": {"", false, peer.MagicPeer, "c1", ""},
		"Raft at a disk from before":          {"", true, peer.MagicRaft, "c1", ""},
	} {
		err := (&Mux{cfg: Config{NodeID: "n1", Identity: identity{c.own, c.old}}}).admit(c.magic, peer.Hello{Cluster: c.from, From: "n2"})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
