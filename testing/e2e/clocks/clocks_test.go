// Package clocks runs nodes in one process, so that their wall clocks can be
// set wrong.
package clocks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"quorate/cluster"
	"quorate/fsm"
	"quorate/fsm/ledger"
	"quorate/testing/testcluster"
)

// member is a node whose wall clock is off by ahead.
type member struct {
	*cluster.Node
	id      string
	machine *fsm.Machine
	ahead   atomic.Int64 // nanoseconds
}

// start starts n nodes and waits until they own everything.
func start(t *testing.T, n int) []*member {
	t.Helper()
	dir := t.TempDir()
	var gossip []string
	for range n {
		gossip = append(gossip, testcluster.FreeAddr(t))
	}
	var nodes []*member
	for i := range n {
		m := &member{id: fmt.Sprint("n", i+1)}
		var running atomic.Pointer[cluster.Node]
		machine, err := fsm.New(func(*ledger.Map) {
			if c := running.Load(); c != nil {
				c.MapChanged()
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		peer, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		m.machine = machine
		m.Node, err = cluster.Open(cluster.Config{
			NodeID: m.id, DataDir: filepath.Join(dir, m.id), Version: "test",
			Peer: peer, Gossip: gossip[i],
			AdvertiseHTTP: "127.0.0.1:1", AdvertisePeer: peer.Addr().String(), AdvertiseGossip: gossip[i],
			Join: gossip, BootstrapExpect: n, FSM: machine, Log: slog.New(slog.DiscardHandler),
			Wall:   func() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) },
			Timing: cluster.DefaultTiming(),
		})
		if err != nil {
			t.Fatal(err)
		}
		running.Store(m.Node)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := m.Close(ctx); err != nil {
				t.Errorf("close %s: %v", m.id, err)
			}
		})
		nodes = append(nodes, m)
	}
	testcluster.Eventually(t, testcluster.ReadyWithin, "every node owns a part", func() error {
		for _, m := range nodes {
			if owned := m.machine.Map().Owned(); len(owned) != n || !m.Ready() {
				return fmt.Errorf("%s knows of owners %v", m.id, owned)
			}
		}
		return nil
	})
	return nodes
}

// leader returns the node that all say leads.
func leader(t *testing.T, nodes []*member) (found *member) {
	t.Helper()
	testcluster.Eventually(t, testcluster.ReadyWithin, "all know one leader", func() error {
		id := nodes[0].Status().Leader
		for _, m := range nodes {
			if m.Status().Leader != id {
				return errors.New("they differ")
			}
			if m.id == id {
				found = m
			}
		}
		if found == nil || found.id != id {
			return errors.New("none")
		}
		return nil
	})
	return found
}

func buy(t *testing.T, m *member, key string) ledger.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	results, _, err := m.Propose(ctx, []ledger.Op{{
		Kind: ledger.OpEntry, Account: "acme", Key: key, Type: ledger.Purchase, Amount: 5 * ledger.Dollar,
	}})
	if err != nil {
		t.Fatalf("buy with key %s at %s: %v", key, m.id, err)
	}
	if results[0].Err != nil {
		t.Fatalf("buy with key %s at %s: %v", key, m.id, results[0].Err)
	}
	return results[0]
}

// TestALeaderADayAheadForgetsNoKey: keys are kept for a day of the log's time,
// which the clock of one node does not move.
func TestALeaderADayAheadForgetsNoKey(t *testing.T) {
	nodes := start(t, 3)
	first := buy(t, nodes[0], "invoice 1")
	if first.Replayed {
		t.Fatal("the first time is a replay")
	}
	wrong := leader(t, nodes)
	before := wrong.machine.State().Now()
	wrong.ahead.Store(int64(25 * time.Hour))
	for i := range 20 { // each would forget up to eight keys
		buy(t, nodes[i%3], fmt.Sprint("after the step ", i))
	}
	for _, m := range nodes {
		if r := buy(t, m, "invoice 1"); !r.Replayed || r.Entry.Index != first.Entry.Index {
			t.Errorf("asked again at %s: %+v; want the entry of index %d", m.id, r, first.Entry.Index)
		}
	}
	if moved := time.Duration(wrong.machine.State().Now()-before) * time.Millisecond; moved > time.Hour {
		t.Errorf("the log's time moved by %s", moved)
	}
	if got := wrong.machine.Account("acme").Lifetime; got != 21*5*ledger.Dollar {
		t.Errorf("lifetime spend %s, want 105.00", got)
	}
	if now := leader(t, nodes); now != wrong && !t.Failed() {
		t.Skipf("skipped: %s leads instead of %s, so nothing was seen of a leader's clock", now.id, wrong.id)
	}
}
