package fsm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

func entry(t *testing.T, index uint64, ops ...ledger.Op) *raft.Log {
	t.Helper()
	b, err := (&ledger.Command{Time: int64(index), Ops: ops}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return &raft.Log{Index: index, Data: b}
}

func purchase(account, key string, amount ledger.Money) ledger.Op {
	return ledger.Op{Kind: ledger.OpEntry, Account: account, Key: key, Type: ledger.Purchase, Amount: amount}
}

func machine(t *testing.T, onMap func(*ledger.Map)) *Machine {
	t.Helper()
	m, err := New(onMap)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sink is a raft.SnapshotSink in memory.
type sink struct{ bytes.Buffer }

func (s *sink) ID() string    { return "test" }
func (s *sink) Cancel() error { return nil }
func (s *sink) Close() error  { return nil }

func TestSnapshotCarriesEverything(t *testing.T) {
	m := machine(t, func(*ledger.Map) {})
	places := make([][3]uint16, ledger.Partitions)
	m.Apply(entry(t, 1, ledger.Op{Kind: ledger.OpClusterID, ClusterID: "c1"}))
	m.Apply(entry(t, 2, ledger.Op{Kind: ledger.OpMap, Map: &ledger.Map{Epoch: 1, Members: []ledger.Member{{ID: "n1", Boot: 3}}, Places: places}}))
	m.Apply(entry(t, 3, purchase("a", "k", 5*ledger.Dollar)))
	var out sink
	snap, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	m.Apply(entry(t, 4, purchase("b", "k", ledger.Dollar))) // must not be in it
	if err := snap.Persist(&out); err != nil {
		t.Fatal(err)
	}
	var hooked *ledger.Map
	r := machine(t, func(m *ledger.Map) { hooked = m })
	if err := r.Restore(io.NopCloser(bytes.NewReader(out.Bytes()))); err != nil {
		t.Fatal(err)
	}
	if r.Index() != 3 || r.ClusterID() != "c1" || r.Account("b") != nil || *r.Account("a") != *m.Account("a") {
		t.Fatalf("index %d, id %q, a %+v, b %+v", r.Index(), r.ClusterID(), r.Account("a"), r.Account("b"))
	}
	if hooked == nil || hooked.Epoch != 1 || hooked.Members[0].Boot != 3 {
		t.Fatalf("the hook got %+v", hooked)
	}
	again := r.Apply(entry(t, 4, purchase("a", "k", 5*ledger.Dollar))).([]ledger.Result)
	if !again[0].Replayed || again[0].Entry.Index != 3 || r.Account("a").Purchased != 5*ledger.Dollar {
		t.Fatalf("a restored key was applied again: %+v", again)
	}
}

func TestDamagedSnapshotChangesNothing(t *testing.T) {
	m := machine(t, func(*ledger.Map) {})
	m.Apply(entry(t, 1, purchase("a", "k", 5*ledger.Dollar)))
	var out sink
	snap, _ := m.Snapshot()
	if err := snap.Persist(&out); err != nil {
		t.Fatal(err)
	}
	whole := out.Bytes()
	for at := 0; at < len(whole); at += 1 + len(whole)/200 {
		flipped := bytes.Clone(whole)
		flipped[at] ^= 0x10
		for name, b := range map[string][]byte{"flipped": flipped, "cut": whole[:at]} {
			if err := m.Restore(io.NopCloser(bytes.NewReader(b))); !errors.Is(err, ledger.ErrSnapshot) {
				t.Fatalf("%s at %d of %d: %v", name, at, len(whole), err)
			}
		}
	}
	if m.Account("a").Purchased != 5*ledger.Dollar {
		t.Fatal("a damaged snapshot changed the state")
	}
}

func TestAnEntryThatNoVersionMeantIsPassed(t *testing.T) {
	m := machine(t, func(*ledger.Map) {})
	if err, ok := m.Apply(&raft.Log{Index: 5, Data: []byte{0x93, 1, 0, 0xc0}}).(error); !ok || err == nil {
		t.Fatalf("damaged operations gave %v", err)
	}
	if m.Index() != 5 {
		t.Fatalf("index %d, want 5", m.Index())
	}
}

// TestAnEntryOfANewerVersionStopsTheMachine: nodes that know the entry change their state
// by it, so skipping it would make this replica differ.
func TestAnEntryOfANewerVersionStopsTheMachine(t *testing.T) {
	newer := []byte{0x93, 99, 0, 0x90}
	use, err := (&ledger.Command{Ops: []ledger.Op{{Kind: ledger.OpVersion, Version: ledger.NewestVersion() + 1}}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"of a newer version": newer, "that puts a newer version in force": use} {
		m := machine(t, func(*ledger.Map) {})
		m.Apply(entry(t, 1, purchase("a", "k", 1)))
		if err, ok := m.Apply(&raft.Log{Index: 2, Data: data}).(error); !ok || !errors.Is(err, ErrHalted) || !errors.Is(err, ledger.ErrUnknownCommand) {
			t.Fatalf("an entry %s gave %v", name, err)
		}
		if err, ok := m.Apply(entry(t, 3, purchase("b", "k", 1))).(error); !ok || !errors.Is(err, ErrHalted) {
			t.Errorf("the next entry gave %v", err)
		}
		if m.Index() != 1 || m.Account("b") != nil {
			t.Errorf("after an entry %s: index %d", name, m.Index())
		}
		if _, err := m.Snapshot(); !errors.Is(err, ErrHalted) {
			t.Errorf("a snapshot: %v", err)
		}
		select {
		case err := <-m.Halted():
			if !strings.Contains(err.Error(), "entry 2") || !strings.Contains(err.Error(), "upgraded") {
				t.Errorf("it says %q", err)
			}
		default:
			t.Error("Halted delivered no error")
		}
	}
}

func TestWaitIndex(t *testing.T) {
	m := machine(t, func(*ledger.Map) {})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.WaitIndex(gone, 1); !errors.Is(err, ledger.ErrBehind) {
		t.Fatalf("err = %v, want behind", err)
	}
	done := make(chan error, 8)
	for i := range 8 {
		go func() { done <- m.WaitIndex(context.Background(), uint64(1+i%2)) }()
	}
	m.Apply(entry(t, 1, purchase("a", "k", 1)))
	m.StoreConfiguration(2, raft.Configuration{})
	for range 8 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPurchaseIsInForceOnceApplied(t *testing.T) {
	m := machine(t, func(*ledger.Map) {})
	c := &bucket.Check{Account: "a", Category: "llm", Requests: 1}
	if r := m.Rule(c); r.Reason != bucket.FreeTier || r.RequiredTier != 1 || r.SpendNeeded != int64(5*ledger.Dollar) {
		t.Fatalf("before: %+v", r)
	}
	m.Apply(entry(t, 1, purchase("a", "k", 5*ledger.Dollar)))
	if r := m.Rule(c); r.Reason != bucket.OK || r.Limits[0].Limit.Limit != 600 {
		t.Fatalf("after: %+v", r)
	}
}

// TestLogTime: the log's time moves on without commands, by the monotonic clock.
func TestLogTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(func(*ledger.Map) {})
		if err != nil {
			t.Fatal(err)
		}
		if m.LogTime() != 0 {
			t.Errorf("%d before the first command", m.LogTime())
		}
		apply := func(index uint64, at int64) {
			t.Helper()
			b, err := (&ledger.Command{Time: at, Ops: []ledger.Op{{Kind: ledger.OpTick}}}).Encode()
			if err != nil {
				t.Fatal(err)
			}
			m.Apply(&raft.Log{Index: index, Data: b})
		}
		apply(1, 5000)
		time.Sleep(time.Hour)
		if got := m.LogTime(); got != 5000+3_600_000 {
			t.Errorf("%d an hour after 5000", got)
		}
		apply(2, 4000) // by a leader whose clock is behind: the log's time stands still
		time.Sleep(time.Second)
		if got := m.LogTime(); got != 5000+3_601_000 {
			t.Errorf("%d", got)
		}
		apply(3, 6000)
		if got := m.LogTime(); got != 6000 {
			t.Errorf("%d, want 6000", got)
		}
	})
}

// TestAMachineStopsAtMoneyThatDoesNotFit: programs of the version before go on with such
// sums, so this one must not go on without them.
func TestAMachineStopsAtMoneyThatDoesNotFit(t *testing.T) {
	m := machine(t, func(*ledger.Map) {})
	for i := range uint64(9) {
		if err, ok := m.Apply(entry(t, i+1, purchase("whale", string(rune('a'+i)), ledger.MaxAmount))).(error); ok {
			t.Fatal(err)
		}
	}
	err, ok := m.Apply(entry(t, 10, purchase("whale", "more", ledger.MaxAmount))).(error)
	if !ok || !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), `"whale"`) || !m.Stopped() || m.Index() != 9 {
		t.Errorf("%v, stopped %t at index %d", err, m.Stopped(), m.Index())
	}
}
