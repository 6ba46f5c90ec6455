package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// knock dials a peer port and returns what came of saying who one is not.
func knock(t *testing.T, addr string, config *tls.Config) error {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if config != nil {
		s := tls.Client(conn, config)
		if err := s.Handshake(); err != nil {
			return err
		}
		conn = s
	}
	// A node answers a greeting; who is refused reads the end.
	if _, err := io.WriteString(conn, greeting(t, peerMagic, "")); err != nil {
		return err
	}
	var b [1]byte
	_, err = io.ReadFull(conn, b[:])
	return err
}

// testClosedPeerPort: the peer port is for nodes.
func testClosedPeerPort(t *testing.T, c *testcluster.Cluster, k *testcluster.Keys) {
	before := c.Nodes[0].Status(t)
	k.Cert(t, "a-client", "client")
	k.Cert(t, "a-node", "node")
	foreign := testcluster.NewKeys(t)
	foreign.Cert(t, "a-node", "node")
	load := func(k *testcluster.Keys, name string) []tls.Certificate {
		own, err := tls.LoadX509KeyPair(filepath.Join(k.Dir, name+".pem"), filepath.Join(k.Dir, name+"-key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{own}
	}
	config := func(certs []tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: k.Pool(t), ServerName: "node.quorate.internal", Certificates: certs}
	}
	for _, n := range c.Nodes {
		if err := knock(t, n.Peer, config(load(k, "a-node"))); err != nil {
			t.Errorf("a node's certificate at %s: %v", n.ID, err) // or the rest shows nothing
		}
		old := config(load(k, "a-node"))
		old.MaxVersion = tls.VersionTLS12
		for name, config := range map[string]*tls.Config{
			"plain TCP":                              nil,
			"no certificate":                         config(nil),
			"a client's certificate":                 config(load(k, "a-client")),
			"a node's of another authority":          config(load(foreign, "a-node")),
			"TLS 1.2":                                old,
			"a name that the server does not go by":  {RootCAs: k.Pool(t), ServerName: "client.quorate.internal", Certificates: load(k, "a-node")},
			"an authority that is not the server's ": {RootCAs: foreign.Pool(t), ServerName: "node.quorate.internal", Certificates: load(k, "a-node")},
		} {
			if err := knock(t, n.Peer, config); err == nil {
				t.Errorf("%s: %s answered", name, n.ID)
			}
		}
	}
	healthy(t, c, before)
}

// healthy fails unless nothing has changed in a cluster that is to be left
// alone.
func healthy(t *testing.T, c *testcluster.Cluster, before *testcluster.Status) {
	t.Helper()
	for _, n := range c.Nodes {
		if !n.Running() {
			t.Fatalf("%s died", n.ID)
		}
		after := n.Status(t)
		if after.Epoch != before.Epoch || after.Term != before.Term || len(after.Nodes) != len(before.Nodes) || after.ClusterID != before.ClusterID {
			t.Errorf("%s: %+v, was %+v", n.ID, after, before)
		}
	}
}

// testClosedHTTP: a node with --tls-client-auth wants a certificate of clients.
func testClosedHTTP(t *testing.T, _ *testcluster.Cluster, k *testcluster.Keys) {
	one := testcluster.New(t, 1)
	one.Guard(k)
	k.Cert(t, "gateway", "client")
	n := one.Nodes[0]
	n.Args = append(n.Args, "--tls-client-auth")
	without := n.Client
	n.Client = k.Client(t, "gateway")
	one.Restart(0)
	one.WaitReady()
	n.Client = without
	if r, err := n.Do(t.Context(), "GET", "/livez", nil); err == nil {
		t.Errorf("without a certificate: %s", r)
	}
}

// testClosedJoin: who has the keys is let in, and the audit says so.
func testClosedJoin(t *testing.T, _ *testcluster.Cluster, k *testcluster.Keys) {
	one, other := testcluster.New(t, 1), testcluster.New(t, 1)
	one.Guard(k)
	one.Restart(0)
	one.WaitReady()
	n := other.Nodes[0]
	n.ID = "n2"
	other.Guard(k)
	for i, a := range n.Args {
		switch a {
		case "--node-id":
			n.Args[i+1] = n.ID
		case "--bootstrap-expect":
			n.Args[i+1] = "0"
		}
	}
	n.Args = append(n.Args, "--join", one.Nodes[0].Gossip)
	other.Restart(0)
	testcluster.Eventually(t, 30*time.Second, "the new node is let in, gets a vote and is in the audit", func() error {
		for _, node := range []*testcluster.Node{one.Nodes[0], n} {
			r, err := node.Do(t.Context(), "GET", "/v1/audit", nil)
			if err != nil {
				return err
			}
			var audit struct {
				Entries []struct{ By, Action, Target, Detail string }
			}
			if err := r.JSON(&audit); err != nil {
				return err
			}
			joined, voted := false, false
			for _, e := range audit.Entries {
				ours := e.By == "(cluster)" && e.Action == "node.join" && e.Target == "n2"
				joined = joined || ours && e.Detail == "nonvoter at "+n.Peer
				voted = voted || ours && e.Detail == "voter at "+n.Peer
			}
			if !joined || !voted {
				return errors.New(r.String())
			}
		}
		return nil
	})
}

// testClosedForeign: nodes of another cluster stay outside, and both clusters
// well, whatever they lack.
func testClosedForeign(t *testing.T, c *testcluster.Cluster, k *testcluster.Keys) {
	before := c.Nodes[0].Status(t)
	var members []string
	for _, n := range c.Nodes {
		members = append(members, n.Gossip)
	}
	foreign := testcluster.NewKeys(t)
	both := func(name string) string { // the keys of the one, then of the other
		b, err := os.ReadFile(filepath.Join(k.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for i, tt := range []struct {
		name string
		keys func() *testcluster.Keys
	}{
		{"another authority, the right gossip key", func() *testcluster.Keys {
			f := testcluster.NewKeys(t)
			f.Write(t, "gossip-key", both("gossip-key"))
			return f
		}},
		{"another gossip key, the right authority", func() *testcluster.Keys {
			f := *k
			f.Dir = t.TempDir()
			for _, name := range []string{"ca.pem", "ca-key.pem", "admin-token"} {
				f.Write(t, name, both(name))
			}
			f.CA = filepath.Join(f.Dir, "ca.pem")
			b, err := os.ReadFile(filepath.Join(foreign.Dir, "gossip-key"))
			if err != nil {
				t.Fatal(err)
			}
			f.Write(t, "gossip-key", string(b))
			return &f
		}},
		{"nothing right", func() *testcluster.Keys { return foreign }},
		{"open", func() *testcluster.Keys { return nil }},
	} {
		other := testcluster.New(t, 1)
		if keys := tt.keys(); keys != nil {
			other.Guard(keys)
		}
		n := other.Nodes[0]
		n.ID = fmt.Sprint("x", i)
		for at, a := range n.Args {
			if a == "--node-id" {
				n.Args[at+1] = n.ID
			}
		}
		n.Args = append(n.Args, "--join", strings.Join(members, ","))
		other.Restart(0)
		if tt.name == "another authority, the right gossip key" {
			// It sees the others by gossip, so that it founds no cluster of its own, and
			// is not let in: the nodes do not count it among them.
			refusedALot(t, c)
			if s := c.Nodes[0].Status(t).Node(n.ID); s != nil {
				t.Errorf("%s: it was let in: %+v", tt.name, s)
			}
		} else {
			other.WaitReady() // a cluster of its own
			if s := n.Status(t); len(s.Nodes) != 1 || s.ClusterID == before.ClusterID {
				t.Errorf("%s: the stranger sees %+v", tt.name, s)
			}
			if s := c.Nodes[0].Status(t); s.Node(n.ID) != nil {
				t.Errorf("%s: seen as %+v", tt.name, s.Node(n.ID))
			}
		}
		other.Kill(0)
		for _, member := range c.Nodes {
			s := member.Status(t)
			if s.ClusterID != before.ClusterID || len(s.Nodes) != len(before.Nodes) {
				t.Errorf("%s: %s says %+v", tt.name, member.ID, s)
			}
			// A starved machine elects anew by itself; a stranger must not get so far.
			for line := range strings.Lines(member.Log(t)) {
				if strings.Contains(line, "part=raft") && strings.Contains(line, n.Peer) {
					t.Errorf("%s: it spoke to Raft: %s", tt.name, line)
				}
			}
			account := buy(t, c, "5.00")
			if d := member.Check(t, testcluster.Check{Account: account, Category: "llm"}); !d.Allowed {
				t.Errorf("%s: %s", tt.name, d.Reply)
			}
		}
	}
}

// refusedALot waits until each node has said that it refused somebody.
func refusedALot(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	testcluster.Eventually(t, 30*time.Second, "the stranger is refused", func() error {
		for _, n := range c.Nodes {
			if !strings.Contains(n.Log(t), "a connection to the peer port was refused") {
				return fmt.Errorf("%s has refused nobody", n.ID)
			}
		}
		return nil
	})
}
