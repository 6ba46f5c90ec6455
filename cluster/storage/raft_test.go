package storage

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

const patience = 30 * time.Second

// within waits for a condition.
func within(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// member is one Raft node in memory, with the wrappers of a real one.
type raftNode struct {
	raft  *raft.Raft
	trans *raft.InmemTransport
	inner *raft.InmemStore
	fsm   *raft.MockFSM
	fault *Fault
}

type raftOptions struct {
	id     string
	voters []string
	store  Store // in place of a new one
	bare   bool  // without the wrappers
	empty  bool  // without a configuration
	fault  *Fault
	timing time.Duration
}

func startRaft(t *testing.T, o raftOptions) *raftNode {
	t.Helper()
	n := &raftNode{inner: raft.NewInmemStore(), fsm: &raft.MockFSM{}}
	_, n.trans = raft.NewInmemTransport(raft.ServerAddress(o.id))
	if o.fault == nil {
		o.fault = NewFault()
	}
	n.fault = o.fault
	if o.timing == 0 {
		o.timing = time.Hour // nobody campaigns
	}
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(o.id)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = o.timing, o.timing, o.timing/2
	c.CommitTimeout = 5 * time.Millisecond
	c.TrailingLogs = 1 << 20
	c.Logger = hclog.NewNullLogger()
	var logs raft.LogStore = n.inner
	var stable raft.StableStore = n.inner
	var snapshots raft.SnapshotStore = raft.NewInmemSnapshotStore()
	if o.store != nil {
		logs, stable = o.store, o.store
	}
	if !o.bare {
		s := Store(n.inner)
		if o.store != nil {
			s = o.store
		}
		g := NewWatchdog(s, o.fault, 200*time.Millisecond)
		done := make(chan struct{})
		go g.Run(done, slog.New(slog.DiscardHandler))
		t.Cleanup(func() { close(done) })
		log := &alignedLog{LogStore: g, fault: o.fault}
		logs, stable, snapshots = log, NewVoteStore(g), aligningSnapshots{snapshots, log}
	}
	if last, err := logs.LastIndex(); err == nil && last == 0 && !o.empty {
		var servers raft.Configuration
		for _, id := range o.voters {
			servers.Servers = append(servers.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
		}
		if err := raft.BootstrapCluster(c, logs, stable, snapshots, n.trans, servers); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if n.raft, err = raft.NewRaft(c, n.fsm, logs, stable, snapshots, n.trans); err != nil {
		t.Fatal(err)
	}
	return n
}

// stop is for nodes whose disk answers.
func (n *raftNode) stop(t *testing.T) {
	t.Helper()
	if err := n.raft.Shutdown().Error(); err != nil {
		t.Error(err)
	}
}

// ask sends one request to a node as another would.
func ask[T any](t *testing.T, n *raftNode, request any, data []byte) (*T, error) {
	t.Helper()
	_, from := raft.NewInmemTransport("asker")
	from.Connect(n.trans.LocalAddr(), n.trans)
	var out any
	var err error
	switch q := request.(type) {
	case *raft.RequestVoteRequest:
		r := &raft.RequestVoteResponse{}
		out, err = r, from.RequestVote("", n.trans.LocalAddr(), q, r)
	case *raft.AppendEntriesRequest:
		r := &raft.AppendEntriesResponse{}
		out, err = r, from.AppendEntries("", n.trans.LocalAddr(), q, r)
	case *raft.InstallSnapshotRequest:
		r := &raft.InstallSnapshotResponse{}
		out, err = r, from.InstallSnapshot("", n.trans.LocalAddr(), q, r, bytes.NewReader(data))
	}
	return out.(*T), err
}

func header(id string) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(id), Addr: []byte(id)}
}

// TestAHalfWrittenVoteIsNone: a node voted for n2 in term 5, then began to vote
// in term 7 and crashed between the two writes. n2 comes back with an old log.
func TestAHalfWrittenVoteIsNone(t *testing.T) {
	for _, bare := range []bool{false, true} {
		t.Run(fmt.Sprintf("bare %v", bare), func(t *testing.T) {
			inner := raft.NewInmemStore()
			wrap := func() raft.StableStore {
				if bare {
					return inner
				}
				return NewVoteStore(inner)
			}
			before := wrap()
			for _, err := range []error{
				inner.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(raft.Configuration{
					Servers: []raft.Server{{ID: "n1", Address: "n1"}, {ID: "n2", Address: "n2"}, {ID: "n3", Address: "n3"}},
				})}),
				inner.StoreLog(&raft.Log{Index: 2, Term: 6}),
				before.SetUint64(keyVoteTerm, 5), before.Set(keyVoteCandidate, []byte("n2")),
				before.SetUint64([]byte("CurrentTerm"), 7),
				before.SetUint64(keyVoteTerm, 7), // and here the power went
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			n := startRaft(t, raftOptions{id: "n1", store: inner, bare: bare})
			defer n.stop(t)
			got, err := ask[raft.RequestVoteResponse](t, n, &raft.RequestVoteRequest{
				RPCHeader: header("n2"), Term: 7, LastLogIndex: 1, LastLogTerm: 1,
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			// Raft alone grants it: the log lacks what a majority may have committed.
			if got.Granted != bare {
				t.Errorf("granted: %v", got.Granted)
			}
		})
	}
}

func TestAVoteOutlivesARestart(t *testing.T) {
	inner := raft.NewInmemStore()
	s := NewVoteStore(inner)
	if term, _ := s.GetUint64(keyVoteTerm); term != 0 { // stores differ in the error
		t.Errorf("no vote yet, and term %d", term)
	}
	for _, err := range []error{s.SetUint64(keyVoteTerm, 9), s.Set(keyVoteCandidate, []byte("n3")), s.SetUint64([]byte("CurrentTerm"), 9)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	again := NewVoteStore(inner)
	term, err := again.GetUint64(keyVoteTerm)
	candidate, err2 := again.Get(keyVoteCandidate)
	now, err3 := again.GetUint64([]byte("CurrentTerm"))
	if term != 9 || string(candidate) != "n3" || now != 9 || errors.Join(err, err2, err3) != nil {
		t.Errorf("%d %q %d: %v", term, candidate, now, errors.Join(err, err2, err3))
	}
}

// TestASnapshotOverADivergentLog: a former leader wrote entries that were never
// committed; the others went on and sent it a snapshot. What follows the
// snapshot must be taken, and nothing that contradicts it must be left to be
// handed on. Where both end at one index Raft goes by what it remembers of its
// own entry: only a new start helps.
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

// TestALogFollowsItsSnapshotAfterACrash: the same, found at the start.
func TestALogFollowsItsSnapshotAfterACrash(t *testing.T) {
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

// badDisk is a store whose writes fail or hang when told to.
type badDisk struct {
	*raft.InmemStore
	mu   sync.Mutex
	err  error
	hang chan struct{} // not nil: writes wait for it
}

func (d *badDisk) set(err error, hang chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.hang = err, hang
}

func (d *badDisk) state() error {
	d.mu.Lock()
	err, hang := d.err, d.hang
	d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return err
}

func (d *badDisk) StoreLogs(l []*raft.Log) error {
	if err := d.state(); err != nil {
		return err
	}
	return d.InmemStore.StoreLogs(l)
}

func (d *badDisk) SetUint64(k []byte, v uint64) error {
	if err := d.state(); err != nil {
		return err
	}
	return d.InmemStore.SetUint64(k, v)
}

// TestALeaderWhoseDiskFailsOrHangsIsReplaced: heartbeats need no disk, so Raft
// alone would keep it, or elect it again and again.
func TestALeaderWhoseDiskFailsOrHangsIsReplaced(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		t.Run(fmt.Sprintf("hangs %v", hangs), func(t *testing.T) {
			ids := []string{"n1", "n2", "n3"}
			nodes, disks, faults := map[string]*raftNode{}, map[string]*badDisk{}, map[string]*Fault{}
			for _, id := range ids {
				disks[id], faults[id] = &badDisk{InmemStore: raft.NewInmemStore()}, NewFault()
				nodes[id] = startRaft(t, raftOptions{id: id, voters: ids, store: disks[id], fault: faults[id], timing: 100 * time.Millisecond})
			}
			for _, a := range ids {
				for _, b := range ids {
					if a != b {
						nodes[a].trans.Connect(nodes[b].trans.LocalAddr(), nodes[b].trans)
					}
				}
			}
			// An entry, because a leader that still stores what it begins its term with
			// takes none, and would never do so on a disk that hangs. Leaders may come and
			// go on a busy machine.
			leader, broken := "", ""
			lead := func(what string) {
				within(t, what, func() bool {
					for id, n := range nodes {
						if id != broken && n.raft.State() == raft.Leader && n.raft.Apply([]byte("w"), patience).Error() == nil {
							leader = id
							return true
						}
					}
					return false
				})
			}
			lead("a leader")
			broken = leader
			release := make(chan struct{})
			want := ErrDiskFailed
			if hangs {
				want = ErrDiskStalled
				disks[broken].set(nil, release)
			} else {
				disks[broken].set(errors.New("input/output error"), nil)
			}
			stuck := nodes[broken].raft.Apply([]byte("x"), patience)
			within(t, "the fault is noticed", func() bool { return faults[broken].Err() != nil })
			if !errors.Is(faults[broken].Err(), want) {
				t.Errorf("the fault is %v", faults[broken].Err())
			}
			// What a node does at a fault: nobody hears it any more.
			nodes[broken].trans.DisconnectAll()
			for _, id := range ids {
				if id != broken {
					nodes[id].trans.Disconnect(nodes[broken].trans.LocalAddr())
				}
			}
			lead("another leader")
			close(release)
			if err := stuck.Error(); err == nil && !hangs {
				t.Error("what was never stored was acknowledged")
			}
			for _, n := range nodes {
				n.stop(t)
			}
		})
	}
}

// TestAfterAFaultNothingIsWritten: an error of the disk may pass, what was built
// on the failed write would not.
func TestAfterAFaultNothingIsWritten(t *testing.T) {
	disk := &badDisk{InmemStore: raft.NewInmemStore()}
	f := NewFault()
	g := NewWatchdog(disk, f, time.Minute)
	disk.set(errors.New("no space left on device"), nil)
	if err := g.SetUint64([]byte("CurrentTerm"), 5); err != nil {
		t.Errorf("Raft would panic at %v", err)
	}
	disk.set(nil, nil)
	select {
	case err := <-f.Failed():
		if !errors.Is(err, ErrDiskFailed) {
			t.Errorf("the fault is %v", err)
		}
	default:
		t.Error("nobody is told")
	}
	for _, err := range []error{g.StoreLogs([]*raft.Log{{Index: 1}}), g.Set(keyVote, nil), g.DeleteRange(0, 9)} {
		if last, _ := disk.LastIndex(); last != 0 || err == nil && !errors.Is(f.Err(), ErrDiskFailed) {
			t.Errorf("%v, %d entries", err, last)
		}
	}
	if err := g.StoreLogs([]*raft.Log{{Index: 1}}); !errors.Is(err, ErrDiskFailed) {
		t.Errorf("a write after the fault: %v", err)
	}
}

// TestAProcessThatStoodStillHasNoHangingDisk: an operation under way when a
// container is paused is not a disk that hangs. What it has taken before counts, and
// what comes after it.
func TestAProcessThatStoodStillHasNoHangingDisk(t *testing.T) {
	g := NewWatchdog(nil, NewFault(), time.Second)
	now := g.observed
	pass := func(d, pace time.Duration) (longest time.Duration) {
		for end := now.Add(d); now.Before(end); {
			now = now.Add(pace)
			longest = max(longest, g.observe(now))
		}
		return longest
	}
	end := g.begin(now)
	if pass(300*time.Millisecond, g.interval()); g.Stalled() {
		t.Error("a third of what it may take, and a leader would keep quiet")
	}
	if since := pass(200*time.Millisecond, g.interval()); since != 500*time.Millisecond || !g.Stalled() {
		t.Errorf("after half a second: %s, quiet %v", since, g.Stalled())
	}
	if since := pass(time.Minute, time.Minute); since != 700*time.Millisecond {
		t.Errorf("a minute in which the process stood still: %s", since)
	}
	if end(); g.Stalled() {
		t.Error("a leader would keep quiet when its disk has answered")
	}
	g.begin(now.Add(-time.Millisecond)) // after it went on, before anybody looked
	if since := pass(time.Second, g.interval()); since < time.Second {
		t.Errorf("a disk that hangs afterwards: %s", since)
	}
	g = NewWatchdog(nil, NewFault(), time.Second)
	g.begin(now.Add(-time.Millisecond))
	g.observed = now.Add(-time.Minute)
	if since := pass(g.interval(), g.interval()); since > g.interval() {
		t.Errorf("an operation that begins as the process goes on: %s", since)
	}
}

// counting is a store that notes the ranges that are deleted.
type counting struct {
	*raft.InmemStore
	ranges [][2]uint64
}

func (c *counting) DeleteRange(low, high uint64) error {
	c.ranges = append(c.ranges, [2]uint64{low, high})
	return c.InmemStore.DeleteRange(low, high)
}

// TestDeletionsAreCutUp: no transaction is long, and a crash between two leaves
// no gap.
func TestDeletionsAreCutUp(t *testing.T) {
	const n = 3*deleteBatch + 5
	for name, c := range map[string]struct{ low, high uint64 }{
		"the front": {1, n - 1}, "all": {0, n + 9}, "the tail": {7, n}, "one": {n, n}, "nothing": {n + 1, n + 5},
	} {
		s := &counting{InmemStore: raft.NewInmemStore()}
		var logs []*raft.Log
		for i := uint64(1); i <= n; i++ {
			logs = append(logs, &raft.Log{Index: i})
		}
		if err := s.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
		if err := NewWatchdog(s, NewFault(), time.Minute).DeleteRange(c.low, c.high); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var left uint64
		for i := uint64(1); i <= n; i++ {
			if s.GetLog(i, &raft.Log{}) == nil {
				if left++; i >= c.low && i <= c.high {
					t.Errorf("%s: %d is still there", name, i)
				}
			}
		}
		gone := uint64(0)
		first, last := uint64(1), uint64(n)
		for _, r := range s.ranges {
			if r[1]-r[0] >= 4096 {
				t.Errorf("%s: %v at once", name, r)
			}
			if name == "all" && r[1] != last { // or what is left begins behind a snapshot's end
				t.Errorf("all: %v before the end, %d", r, last)
			}
			if r[0] != first && r[1] != last {
				t.Errorf("%s: %v leaves a gap in %d to %d", name, r, first, last)
			}
			if r[0] == first {
				first = r[1] + 1
			} else {
				last = r[0] - 1
			}
			gone += r[1] - r[0] + 1
		}
		if left+gone != n {
			t.Errorf("%s: %d left, %d deleted of %d", name, left, gone, n)
		}
	}
}

// TestTimeFormatOnDisk: entries hold a time, whose format must never depend on
// the version of a library.
func TestTimeFormatOnDisk(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(dir, "n1", Options{})
	if err != nil {
		t.Fatal(err)
	}
	entry := raft.Log{Index: 1, Term: 2, Data: []byte("d"), AppendedAt: time.Unix(1_700_000_000, 5).UTC()}
	if err := errors.Join(d.bolt.StoreLog(&entry), d.Close()); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(filepath.Join(dir, "raft.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got []byte
	if err := db.View(func(tx *bbolt.Tx) error {
		got = bytes.Clone(tx.Bucket([]byte("logs")).Get([]byte{0, 0, 0, 0, 0, 0, 0, 1}))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	const want = "86aa417070656e6465644174a8000000146553f100a444617461a164aa457874656e73696f6e73c0a5496e64657801a45465726d02a45479706500"
	if hex.EncodeToString(got) != want {
		t.Errorf("the entry is %x,\nwant         %s", got, want)
	}
}
