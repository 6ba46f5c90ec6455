package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"quorate/testing/testcluster"
)

const (
	raftMagic = "QRAFT\x02"
	peerMagic = "QPEER\x04"
)

// greeting opens a connection between nodes, as version 4 of their protocol has
// it: the sender's versions, cluster and id. The answer is two zero bytes.
func greeting(t *testing.T, magic, cluster string) string {
	t.Helper()
	hello := packed(t, []any{4, 4, cluster, "somebody"})
	return magic + string([]byte{0, byte(len(hello))}) + hello
}

type fields = map[string]any

func packed(t *testing.T, v any) string {
	t.Helper()
	b, err := msgpack.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestBadBytes: what is no message, or claims to be a huge one, on the ports
// where nodes speak with one another. The node hangs up, grows by little, and
// goes on; so do the others.
func TestBadBytes(t *testing.T) {
	c := testcluster.Start(t, 3)
	leader := c.Leader()
	node := c.Nodes[(leader+1)%3]
	term := node.Status(t).Term
	raftMagic, peerMagic := greeting(t, raftMagic, node.Status(t).ClusterID), greeting(t, peerMagic, "")
	before := memory(t, node, "VmRSS")

	big := "\xff\xff\xff\xff"
	deep := "\x00\x81" + packed(t, "Entries") + strings.Repeat("\x91", 200_000)
	state := fields{"Name": "x.1", "Addr": []byte{127, 0, 0, 1}, "Port": 1, "Vsn": []byte{1}, "State": 0}
	alive := func(change fields) string {
		n := fields{"Node": "x.1", "Addr": []byte{127, 0, 0, 1}, "Port": 1, "Incarnation": 1, "Vsn": []byte{1, 5, 5, 0, 0, 0}}
		for k, v := range change {
			n[k] = v
		}
		return "\x04" + packed(t, n)
	}
	request := func(change fields) string { // from the leader, as far as the node can see
		q := fields{"ProtocolVersion": 3, "ID": []byte(c.Nodes[leader].ID), "Addr": []byte(c.Nodes[leader].Peer)}
		for k, v := range change {
			q[k] = v
		}
		return packed(t, q)
	}
	streams := []struct{ name, addr, data string }{
		{"HTTP on the peer port", node.Peer, "GET /v1/cluster HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"random bytes on the peer port", node.Peer, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
		{"a request of type 255", node.Peer, raftMagic + "\xff\x80"},
		{"2^32-1 entries", node.Peer, raftMagic + "\x00\x81" + packed(t, "Entries") + "\xdd" + big},
		{"4 GiB of bytes", node.Peer, raftMagic + "\x00\x81" + packed(t, "Leader") + "\xc6" + big},
		{"200,000 levels", node.Peer, raftMagic + deep},
		{"an entry that is nil", node.Peer, raftMagic + "\x00" + request(fields{"Term": term, "Entries": []any{nil}})},
		{"an entry with a bad configuration", node.Peer, raftMagic + "\x00" + request(fields{"Term": term, "Entries": []any{fields{"Index": 1 << 40, "Type": 5, "Data": []byte("x")}}})},
		{"a snapshot of 2^62 bytes", node.Peer, raftMagic + "\x02" + request(fields{"SnapshotVersion": 1, "Term": term, "Size": int64(1 << 62)})},
		{"a snapshot of -1 byte", node.Peer, raftMagic + "\x02" + request(fields{"SnapshotVersion": 1, "Term": term, "Size": -1})},
		{"a snapshot with a bad configuration", node.Peer, raftMagic + "\x02" + request(fields{"SnapshotVersion": 1, "Term": term, "Size": 1, "Configuration": []byte("x")}) + "x"},
		{"a vote in term 2^64-1", node.Peer, raftMagic + "\x01" + request(fields{"Term": uint64(1<<64 - 1)})},
		{"a peer's frame of 4 GiB", node.Peer, peerMagic + big + "\x01\x00\x00\x00\x00\x00\x00\x00\x01"},
		{"a peer's frame of a kind that there is not", node.Peer, peerMagic + "\x00\x00\x00\x00\x63\x00\x00\x00\x00\x00\x00\x00\x01"},
		{"HTTP on the gossip port", node.Gossip, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"a list of -1 nodes", node.Gossip, "\x06" + packed(t, fields{"Nodes": -1, "UserStateLen": 0})},
		{"a list of 2^31 nodes", node.Gossip, "\x06" + packed(t, fields{"Nodes": 1 << 31, "UserStateLen": 0})},
		{"a list with 1 GiB of data", node.Gossip, "\x06" + packed(t, fields{"Nodes": 0, "UserStateLen": 1 << 30})},
		{"a list with a node of one version", node.Gossip, "\x06" + packed(t, fields{"Nodes": 1, "UserStateLen": 0, "Join": true}) + packed(t, state)},
		{"a message of 20 MiB", node.Gossip, "\x08" + packed(t, fields{"UserMsgLen": 20 << 20})},
		{"nothing, compressed", node.Gossip, "\x09" + packed(t, fields{"Algo": 0, "Buf": []byte{0x01, 0x03}})},
		{"an encrypted list of 4 GiB", node.Gossip, "\x0a" + big},
	}
	for _, s := range streams {
		conn, err := net.DialTimeout("tcp", s.addr, 5*time.Second)
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		_, _ = conn.Write([]byte(s.data)) // the node may hang up before the end
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if strings.HasPrefix(s.data, raftMagic) || strings.HasPrefix(s.data, peerMagic) {
			var welcome [2]byte
			if _, err := io.ReadFull(conn, welcome[:]); err != nil || welcome != [2]byte{} {
				t.Fatalf("%s: not even welcomed: %x %v", s.name, welcome, err)
			}
		}
		answer := make([]byte, 512)
		n, err := conn.Read(answer)
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Errorf("%s: the node neither answered nor hung up", s.name)
		}
		if n > 0 && !bytes.HasPrefix(answer, []byte{0x0d}) && s.addr == node.Gossip {
			t.Errorf("%s: answered %q", s.name, answer[:n])
		}
		_ = conn.Close() // it is closed already
		if !node.Running() {
			t.Fatalf("%s ended the process", s.name)
		}
	}
	packets := []string{
		"", "\x00", "\x07", "\x07\xff", "\x08hello", "\x0c\x00\x00\x00\x00\x04", "\xf4\x05other\x00",
		"\x09" + packed(t, fields{"Algo": 0, "Buf": bytes.Repeat([]byte{0x80}, 60_000)}),
		"\x02\x81" + packed(t, "Payload") + "\xc6" + big, "\x04\xdf" + big, "\x00" + strings.Repeat("\x91", 60_000),
		alive(fields{"Vsn": []byte{1}}), alive(fields{"Vsn": []byte{}}), alive(fields{"Meta": make([]byte, 513)}), alive(fields{"Addr": []byte{1}}),
	}
	udp, err := net.Dial("udp", node.Gossip)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for range 100 {
		for _, p := range packets {
			_, _ = udp.Write([]byte(p)) // nobody promises to read it
		}
	}

	// Requests that begin and never end cost a connection each and nothing else.
	for range 100 {
		for _, begun := range []string{raftMagic + "\x00\x85", peerMagic, "\x06"} {
			addr := node.Peer
			if begun == "\x06" {
				addr = node.Gossip
			}
			if conn, err := net.DialTimeout("tcp", addr, 5*time.Second); err == nil {
				defer conn.Close()
				_, _ = conn.Write([]byte(begun)) // likewise
			}
		}
	}
	alivePeers(t, c)
	c.Nodes[leader].Purchase(t, "after-bad-bytes", "k", "5")
	if grown := memory(t, node, "VmHWM") - before; grown > 64<<20 {
		t.Errorf("the node grew by %d MiB at its highest", grown>>20)
	} else {
		t.Logf("the node grew by %d KiB at its highest", grown>>10)
	}
	if s := node.Status(t); s.Term != term || *s.Leader != c.Nodes[leader].ID || len(s.Nodes) != 3 {
		t.Errorf("term %d of %s with %d nodes, was %d of %s with 3", s.Term, *s.Leader, len(s.Nodes), term, c.Nodes[leader].ID)
	}
}

// alivePeers wants every node to run and to be reached by the others.
func alivePeers(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	alive(t, c)
	c.WaitReady()
}

// memory reads a line of a process's status, in bytes.
func memory(t *testing.T, n *testcluster.Node, line string) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		t.Skip("no /proc")
	}
	for l := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no %s of %s", line, n.ID)
	return 0
}
