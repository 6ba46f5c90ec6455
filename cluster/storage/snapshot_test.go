package storage

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestASnapshotOverADivergentLog: a former leader has entries that were never
// committed, and receives a snapshot of the leader that followed. It must accept the
// entries after the snapshot, and keep none that contradict it. If log and snapshot end
// at the same index, Raft uses the term that it has cached of its own entry: only a
// restart helps.
func TestASnapshotOverADivergentLog(t *testing.T) {
	servers := raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{
		{ID: "n1", Address: "n1"}, {ID: "n2", Address: "n2"}, {ID: "n3", Address: "n3"},
	}})
	for _, c := range []struct {
		name string
		last uint64 // of the divergent log
		bare bool
		want bool
	}{
		{"longer than the snapshot", 20, false, true},
		{"shorter", 7, false, true},
		{"as long", 10, false, false},
		{"longer, Raft alone", 20, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner := raft.NewInmemStore()
			logs := []*raft.Log{{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: servers}}
			for i := uint64(2); i <= c.last; i++ {
				logs = append(logs, &raft.Log{Index: i, Term: 2, Data: []byte("never committed")})
			}
			if err := inner.StoreLogs(logs); err != nil {
				t.Fatal(err)
			}
			n := startRaft(t, raftOptions{id: "n1", store: inner, bare: c.bare})
			defer n.stop(t)
			data := []byte{0x90} // of the mock's state machine: nothing applied
			installed, err := ask[raft.InstallSnapshotResponse](t, n, &raft.InstallSnapshotRequest{
				RPCHeader: header("n2"), SnapshotVersion: 1, Term: 3, LastLogIndex: 10, LastLogTerm: 3,
				Configuration: servers, ConfigurationIndex: 1, Size: int64(len(data)),
			}, data)
			if err != nil || !installed.Success {
				t.Fatalf("%+v %v", installed, err)
			}
			got, err := ask[raft.AppendEntriesResponse](t, n, &raft.AppendEntriesRequest{
				RPCHeader: header("n2"), Term: 3, PrevLogEntry: 10, PrevLogTerm: 3, LeaderCommitIndex: 12,
				Entries: []*raft.Log{{Index: 11, Term: 3, Data: []byte("a")}, {Index: 12, Term: 3, Data: []byte("b")}},
			}, nil)
			if err != nil || got.Success != c.want {
				t.Fatalf("what follows the snapshot: %+v %v, want success %v", got, err, c.want)
			}
			if stops := c.last == 10; (n.fault.Err() != nil) != stops || stops && !errors.Is(n.fault.Err(), ErrDiverged) {
				t.Errorf("the fault is %v", n.fault.Err())
			}
			if !c.want {
				return
			}
			within(t, "applied", func() bool { return n.raft.AppliedIndex() == 12 })
			for i := uint64(1); i <= c.last; i++ {
				var l raft.Log
				if err := inner.GetLog(i, &l); err == nil && l.Term == 2 {
					t.Errorf("entry %d of term 2 is still there", i)
				}
			}
		})
	}
}

// TestALogIsAlignedAtTheStart: the same, after a crash before the log was aligned.
func TestALogIsAlignedAtTheStart(t *testing.T) {
	entries := func(from, to, term uint64) *raft.InmemStore {
		s := raft.NewInmemStore()
		for i := from; i <= to; i++ {
			if err := s.StoreLog(&raft.Log{Index: i, Term: term}); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	for name, c := range map[string]struct {
		s           *raft.InmemStore
		first, last uint64
	}{
		"a log that agrees stays":              {entries(5, 20, 3), 5, 20},
		"of one that differs the tail is left": {entries(5, 20, 2), 11, 20},
		"a short one goes":                     {entries(5, 8, 2), 0, 0},
		"one that begins later stays":          {entries(11, 12, 3), 11, 12},
		"an empty one":                         {entries(1, 0, 0), 0, 0},
	} {
		log := &alignedLog{LogStore: NewWatchdog(c.s, NewFault(), time.Minute)}
		if err := log.align(10, 3); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		first, _ := log.FirstIndex() // in memory: never an error
		last, _ := log.LastIndex()   // likewise
		var l raft.Log
		if err := log.GetLog(10, &l); err != nil || l.Term != 3 || l.Index != 10 {
			t.Errorf("%s: the snapshot's entry is %+v, %v", name, l, err)
		}
		if first != c.first || last != c.last {
			t.Errorf("%s: %d to %d, want %d to %d", name, first, last, c.first, c.last)
		}
	}
}
