package cluster

import "testing"

func TestOverlooks(t *testing.T) {
	for _, c := range []struct {
		state  string
		missed int32
		want   bool
	}{
		{"dead", 0, true},
		{"dead", unreachable, false},
		{"alive", 0, false},
	} {
		n := &Node{}
		r := &remote{member: member{state: c.state}}
		r.missed.Store(c.missed)
		n.peers.clients = map[string]*remote{"n2": r}
		if got := n.overlooks(); got != c.want {
			t.Errorf("%s, %d beats missed: %t", c.state, c.missed, got)
		}
	}
}
