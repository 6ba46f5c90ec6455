package cluster

import (
	"bytes"
	"fmt"

	"github.com/hashicorp/memberlist"
	"github.com/vmihailenco/msgpack/v5"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
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
	metaFields = 8  // later versions may add some
)

func (m *meta) encode() ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	err := bucket.Fields(
		func() error { return e.EncodeArrayLen(metaFields) },
		func() error { return e.EncodeString(m.ID) },
		func() error { return e.EncodeUint(m.Boot) },
		func() error { return e.EncodeString(m.HTTP) },
		func() error { return e.EncodeString(m.Peer) },
		func() error { return e.EncodeString(m.Version) },
		func() error { return e.EncodeInt(int64(m.Expect)) },
		func() error { return e.EncodeBool(m.Formed) },
		func() error { return e.EncodeString(m.Cluster) },
	)
	if err == nil && buf.Len() > memberlist.MetaMaxSize {
		err = fmt.Errorf("node meta of %d bytes, at most %d", buf.Len(), memberlist.MetaMaxSize)
	}
	return buf.Bytes(), err
}

func decodeMeta(b []byte) (m meta, err error) {
	d := msgpack.NewDecoder(bytes.NewReader(b))
	fields, err := bucket.ReadLen(d, -4*metaFields)
	if err == nil && fields < metaFields {
		err = fmt.Errorf("node meta of %d fields, at least %d", fields, metaFields)
	}
	if err != nil {
		return m, err
	}
	err = bucket.Fields(
		func() (err error) { m.ID, err = bucket.ReadString(d, ledger.MaxNodeID); return err },
		func() (err error) { m.Boot, err = d.DecodeUint64(); return err },
		func() (err error) { m.HTTP, err = bucket.ReadString(d, maxAddr); return err },
		func() (err error) { m.Peer, err = bucket.ReadString(d, maxAddr); return err },
		func() (err error) { m.Version, err = bucket.ReadString(d, 64); return err },
		func() error { return bucket.Int(d, &m.Expect) },
		func() (err error) { m.Formed, err = d.DecodeBool(); return err },
		func() (err error) { m.Cluster, err = bucket.ReadString(d, ledger.MaxNodeID); return err },
	)
	return m, err
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
