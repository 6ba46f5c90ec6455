package cluster

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"quorate/cluster/ownership"
	"quorate/cluster/peer"
)

func TestTheGateOpensForEachNodeAlone(t *testing.T) {
	n, _ := freshNode(t, "n1", 3)
	n.ctx = t.Context()
	n.initGate()
	g := &n.startup.gate
	if g.self.Incarnation == (ownership.Incarnation{}) {
		t.Error("no incarnation")
	}
	closed := func(id string) {
		t.Helper()
		if err := n.awaitPermit(id, time.Millisecond); !errors.Is(err, errNotPermitted) {
			t.Errorf("%s: %v", id, err)
		}
	}
	closed("n2")
	g.set(func() { g.permitted["n2"] = true })
	closed("n2") // n3, which may know more, has not answered yet
	done := make(chan error, 1)
	go func() { done <- n.awaitPermit("n2", time.Minute) }()
	g.set(func() { g.ready = true })
	if err := <-done; err != nil {
		t.Error(err)
	}
	closed("n3")
	g.set(func() { g.open = true })
	if err := n.mayReceive("n3"); err != nil {
		t.Error(err)
	}
}

func TestANodeIsAskedOnceAtATime(t *testing.T) {
	n, _ := freshNode(t, "n1", 3)
	n.initGate()
	g := &n.startup.gate
	if !g.due("n2", 0) || g.due("n2", 0) || !g.due("n3", 0) {
		t.Error("not asked once")
	}
	g.set(func() { g.asking["n2"] = time.Now() })
	if g.due("n2", time.Hour) || !g.due("n2", 0) {
		t.Error("not asked again after the pause")
	}
	g.set(func() { g.permitted["n3"], g.asking["n3"] = true, time.Now() })
	if g.due("n3", 0) {
		t.Error("asked again after it has permitted")
	}
}

// TestANodeOfAnEarlierVersionPermits: its answer is the text of an error.
func TestANodeOfAnEarlierVersionPermits(t *testing.T) {
	for text, want := range map[string]bool{"unknown method 12": true, errStarting.Error(): false} {
		if got := isUnknownMethod(fmt.Errorf("%w: %s", peer.ErrRefused, text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if isUnknownMethod(errors.New("unknown method 12")) {
		t.Error("an error of this node's own counts as an answer")
	}
}
