package failpoint

import (
	"fmt"
	"time"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/model"
	"quorate/testing/testcluster"
)

// Disks lists the faults of disks.
var Disks = []Fault{
	{"power-loss", "a node ends and its disk loses all writes that were not synced", func(e *Env) error { return powerLoss(e, "power-loss", e.Anyone()) }},
	{"power-loss-all", "the same with all nodes at once", func(e *Env) error { return powerLoss(e, "power-loss-all", e.Up()...) }},
	{"slow-disk", "every write to a disk waits up to 0.1 s", slowDisk},
	{"hung-disk", "every write to the leader's disk waits for 8 to 12 s", func(e *Env) error { return hungDisk(e, "hung-disk", (*Env).Leader) }},
	{"hung-disk-follower", "the same with a node that does not lead", func(e *Env) error { return hungDisk(e, "hung-disk-follower", (*Env).Follower) }},
	{"full-disk", "the leader's disk has no room", func(e *Env) error { return fullDisk(e, "full-disk", (*Env).Leader) }},
	{"full-disk-follower", "the same with a node that does not lead", func(e *Env) error { return fullDisk(e, "full-disk-follower", (*Env).Follower) }},
}

func powerLoss(e *Env, name string, nodes ...*testcluster.Node) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	d := e.Backend.(backend.Disks)
	kind := model.Kill
	if len(nodes) > 1 {
		kind = model.KillAll
	}
	f := e.Begin(name, kind, "", true, nodes...)
	for _, n := range nodes {
		e.setUp(n, false)
		if err := d.PowerLoss(n); err != nil {
			return err
		}
	}
	if kind == model.Kill {
		if err := e.without(f); err != nil {
			return err
		}
		return e.back(f, nodes...)
	}
	e.Heal(f)
	for _, n := range nodes {
		if err := e.Backend.Start(n); err != nil {
			return err
		}
		e.setUp(n, true)
	}
	return e.Settle(f)
}

// slowDisk delays most writes by up to a tenth of a second.
func slowDisk(e *Env) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	d, n, lasts := e.Backend.(backend.Disks), e.Anyone(), e.Between(4*time.Second, 10*time.Second)
	f := e.Begin("slow-disk", model.Disk, fmt.Sprintf("for %.1f s", lasts.Seconds()), false, n)
	for end := e.Rec.Now() + lasts; e.Rec.Now() < end; {
		if err := d.Hang(n); err != nil {
			return err
		}
		e.Hold(100 * time.Millisecond)
		if err := d.Thaw(n); err != nil {
			return err
		}
		e.Hold(20 * time.Millisecond)
	}
	e.Heal(f)
	return e.Settle(f)
}

// hungDisk hangs a disk for so long that the node should end. The process cannot exit
// before the disk works again.
func hungDisk(e *Env, name string, choose func(*Env) *testcluster.Node) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	d, n, lasts := e.Backend.(backend.Disks), choose(e), e.Between(8*time.Second, 12*time.Second)
	f := e.Begin(name, model.DiskStop, fmt.Sprintf("for %.1f s", lasts.Seconds()), true, n)
	if err := d.Hang(n); err != nil {
		return err
	}
	e.Hold(lasts)
	if err := d.Thaw(n); err != nil {
		return err
	}
	e.Heal(f)
	return afterDisk(e, f, n)
}

// fullDisk fills the disk of a node's log.
func fullDisk(e *Env, name string, choose func(*Env) *testcluster.Node) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	d, n := e.Backend.(backend.Disks), choose(e)
	f := e.Begin(name, model.DiskStop, "", true, n)
	if err := d.Fill(n); err != nil {
		return err
	}
	if until(20*time.Second, func() bool { return e.Backend.Ended(n) }) != nil {
		f.Note = "the log had room in its file"
	}
	if err := d.Free(n); err != nil {
		return err
	}
	e.Heal(f)
	return afterDisk(e, f, n)
}

// afterDisk restarts a node that ended by itself, as a supervisor would.
func afterDisk(e *Env, f *model.Fault, n *testcluster.Node) error {
	_ = until(3*time.Second, func() bool { return e.Backend.Ended(n) }) // it may go on
	if e.Backend.Ended(n) {
		remark(f, "it ended by itself")
		if err := e.Backend.Start(n); err != nil {
			return err
		}
	}
	return e.Settle(f)
}
