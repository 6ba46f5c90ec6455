package cluster

import (
	"io"
	"log"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"quorate/cluster/peer"
)

func TestMissesReachable(t *testing.T) {
	for _, c := range []struct {
		state  string
		missed int
		want   bool
	}{
		{"dead", 0, true},
		{"dead", 4, false},
		{"alive", 0, false},
	} {
		n := newOwner(t, "n2")
		r := &remote{client: peer.NewClient(nil), member: member{state: c.state}}
		n.peers.clients = map[string]*remote{"n2": r}
		for range c.missed {
			n.beatAll()
		}
		if got := n.missesReachable(); got != c.want {
			t.Errorf("%s, %d beats missed: %t", c.state, c.missed, got)
		}
	}
}

// TestATransportThatNobodyReadsEnds: a node that cannot start must end all the same,
// though others, which know it, gossip to it.
func TestATransportThatNobodyReadsEnds(t *testing.T) {
	tr, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{"127.0.0.1"}, Logger: log.New(io.Discard, "", 0)})
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(tr.GetAutoBindPort()))
	udp, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for range 3 { // one is taken from the socket and waits, the others keep it busy
		if _, err := udp.Write([]byte("gossip")); err != nil {
			t.Fatal(err)
		}
	}
	tcp, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	ended := make(chan error, 1)
	go func() { ended <- closeUnread(tr) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it still waits")
	}
}
