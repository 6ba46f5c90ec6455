package storage

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// badDisk is a store whose writes fail or hang on request.
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

// TestALeaderWhoseDiskFailsOrHangsIsReplaced: heartbeats need no disk, so Raft alone
// would keep the leader, or elect it again and again.
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
			// A leader must commit an entry to count: it accepts none before it has stored the
			// first entry of its term, which a disk that hangs prevents. On a busy machine
			// leaders change.
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
			// What a node does at a fault: it disconnects.
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

// TestAfterAFaultNothingIsWritten: the disk may recover, but what depends on the failed
// write may not be stored.
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
		t.Error("no fault is delivered")
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

// TestASuspendedProcessHasNoHangingDisk: an operation that is under way while a
// container is paused does not hang. The time before and after the pause counts.
func TestASuspendedProcessHasNoHangingDisk(t *testing.T) {
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
		t.Error("stalled after less than a third of the timeout")
	}
	if since := pass(200*time.Millisecond, g.interval()); since != 500*time.Millisecond || !g.Stalled() {
		t.Errorf("after half a second: %s, stalled %v", since, g.Stalled())
	}
	if since := pass(time.Minute, time.Minute); since != 700*time.Millisecond {
		t.Errorf("after a minute suspended: %s", since)
	}
	if end(); g.Stalled() {
		t.Error("stalled although the disk has responded")
	}
	g.begin(now.Add(-time.Millisecond)) // after the process resumed, before the next observation
	if since := pass(time.Second, g.interval()); since < time.Second {
		t.Errorf("a disk that hangs afterwards: %s", since)
	}
	g = NewWatchdog(nil, NewFault(), time.Second)
	g.begin(now.Add(-time.Millisecond))
	g.observed = now.Add(-time.Minute)
	if since := pass(g.interval(), g.interval()); since > g.interval() {
		t.Errorf("an operation that begins as the process resumes: %s", since)
	}
}

// counting is a store that records the ranges that are deleted.
type counting struct {
	*raft.InmemStore
	ranges [][2]uint64
}

func (c *counting) DeleteRange(low, high uint64) error {
	c.ranges = append(c.ranges, [2]uint64{low, high})
	return c.InmemStore.DeleteRange(low, high)
}

// TestDeletionsAreBatched: no transaction is long, and a crash between two leaves no
// gap.
func TestDeletionsAreBatched(t *testing.T) {
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
