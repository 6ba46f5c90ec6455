package cluster

import (
	"fmt"

	"github.com/hashicorp/memberlist"

	"quorate/fsm/ledger"
	"quorate/limiter/codec"
)

// meta is what each node publishes about itself by gossip, in at most
// memberlist.MetaMaxSize bytes.
type meta struct {
	ID      string
	Boot    uint64
	HTTP    string
	Peer    string
	Version string
	Expect  int    // nodes that it expects to form a cluster with
	Formed  bool   // it has Raft state: it cannot form a new cluster
	Cluster string // id of the cluster that its disk belongs to; empty: none
}

const (
	maxAddr    = 96 // bytes of a host:port
	maxVersion = 64 // bytes of a program's version
	metaFields = 8  // later versions may add some
)

func (m *meta) encode() ([]byte, error) {
	b, err := codec.Append(nil, m)
	if err == nil && len(b) > memberlist.MetaMaxSize {
		err = fmt.Errorf("node meta of %d bytes, at most %d", len(b), memberlist.MetaMaxSize)
	}
	return b, err
}

func decodeMeta(b []byte) (m meta, err error) {
	err = codec.Unmarshal(b, &m)
	return m, err
}

// Encode is codec.Encoder.
func (m *meta) Encode(w *codec.Writer) {
	w.Array(metaFields)
	w.String(m.ID)
	w.Uint(m.Boot)
	w.String(m.HTTP)
	w.String(m.Peer)
	w.String(m.Version)
	w.Int(int64(m.Expect))
	w.Bool(m.Formed)
	w.String(m.Cluster)
}

// Decode is codec.Decoder. It passes over the fields that a later version has added.
func (m *meta) Decode(r *codec.Reader) {
	more := r.ArrayAtLeast(metaFields, 4*metaFields)
	m.ID = r.String(ledger.MaxNodeID)
	m.Boot = r.Uint()
	m.HTTP = r.String(maxAddr)
	m.Peer = r.String(maxAddr)
	m.Version = r.String(maxVersion)
	m.Expect = codec.Int[int](r)
	m.Formed = r.Bool()
	m.Cluster = r.String(ledger.MaxNodeID)
	r.Skip(more)
}

// member is a node as gossip knows it.
type member struct {
	meta
	gossip string
	state  string // alive, suspect, left or dead
}

// meta returns the meta of this node.
func (n *Node) meta() *meta {
	return &meta{
		ID: n.cfg.NodeID, Boot: n.boot, HTTP: n.cfg.AdvertiseHTTP, Peer: n.cfg.AdvertisePeer,
		Version: n.cfg.Version, Expect: n.cfg.BootstrapExpect, Formed: n.startup.formed.Load(),
		Cluster: n.identity.ClusterID(),
	}
}
