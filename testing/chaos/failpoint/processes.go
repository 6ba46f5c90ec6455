package failpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/model"
	"quorate/testing/testcluster"
)

// Processes lists the faults of processes, which every backend can inject.
var Processes = []Fault{
	{"kill-follower", "a node is killed that does not lead", func(e *Env) error { return kill(e, "kill-follower", (*Env).Follower) }},
	{"kill-leader", "the leader is killed", func(e *Env) error { return kill(e, "kill-leader", (*Env).Leader) }},
	{"kill-two", "two nodes are killed at once, of five", killTwo},
	{"kill-all", "all nodes are killed at once", killAll},
	{"freeze-short", "a node is frozen for up to 1 s", func(e *Env) error { return freeze(e, "freeze-short", (*Env).Anyone, 100*time.Millisecond, time.Second) }},
	{"freeze-follower", "a follower is frozen for 3 to 8 s", func(e *Env) error { return freeze(e, "freeze-follower", (*Env).Follower, 3*time.Second, 8*time.Second) }},
	{"freeze-leader", "the leader is frozen for 3 to 8 s", func(e *Env) error { return freeze(e, "freeze-leader", (*Env).Leader, 3*time.Second, 8*time.Second) }},
	{"starve", "a node gets a tenth of a processor", func(e *Env) error { return starve(e, "starve", e.Anyone()) }},
	{"starve-all", "every node gets a tenth of a processor", func(e *Env) error { return starve(e, "starve-all", e.Backend.Nodes()...) }},
	{"drain", "a node is drained, and restarts", drain},
	{"rolling-restart", "all nodes restart gracefully, one after the other", rolling},
	{"lost-answers", "clients lose most answers to their entries", lostAnswers},
}

// Membership lists planned changes: nodes that join, are removed and are replaced.
var Membership = []Fault{
	{"join-and-remove", "one more node joins, and is removed", joinAndRemove},
	{"replace-wiped", "a node loses its disk and is replaced by one with a new name", replaceWiped},
}

func kill(e *Env, name string, choose func(*Env) *testcluster.Node) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	n := choose(e)
	f := e.Begin(name, model.Kill, "", true, n)
	if err := e.down(n); err != nil {
		return err
	}
	if err := e.without(f); err != nil {
		return err
	}
	e.Rest()
	return e.back(f, n)
}

func killTwo(e *Env) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	two := []*testcluster.Node{e.Anyone(), e.Anyone()}
	f := e.Begin("kill-two", model.KillTwo, "", true, two...)
	for _, n := range two {
		if err := e.down(n); err != nil {
			return err
		}
	}
	if err := e.without(f); err != nil {
		return err
	}
	e.Rest()
	return e.back(f, two...)
}

func killAll(e *Env) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	all := e.Up()
	f := e.Begin("kill-all", model.KillAll, "", true, all...)
	for _, n := range all {
		if err := e.down(n); err != nil {
			return err
		}
	}
	for _, n := range all {
		if err := e.Backend.Start(n); err != nil {
			return err
		}
		e.setUp(n, true)
	}
	return e.Settle(f)
}

func freeze(e *Env, name string, choose func(*Env) *testcluster.Node, low, high time.Duration) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	n, d := choose(e), e.Between(low, high)
	f := e.Begin(name, model.Freeze, fmt.Sprintf("for %.1f s", d.Seconds()), true, n)
	if err := e.Backend.Freeze(n); err != nil {
		return err
	}
	e.Hold(d)
	if err := e.Backend.Resume(n); err != nil {
		return err
	}
	e.Heal(f)
	return e.Settle(f)
}

func starve(e *Env, name string, nodes ...*testcluster.Node) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	d := e.Between(4*time.Second, 10*time.Second)
	f := e.Begin(name, model.Starve, fmt.Sprintf("for %.1f s", d.Seconds()), true, nodes...)
	for _, n := range nodes {
		if err := e.Backend.Starve(n, true); err != nil {
			return err
		}
	}
	e.Hold(d)
	for _, n := range nodes {
		if err := e.Backend.Starve(n, false); err != nil {
			return err
		}
	}
	return e.Settle(f)
}

// rolling restarts all nodes gracefully, one after the other.
func rolling(e *Env) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	for _, i := range e.Rng.Perm(len(e.Backend.Nodes())) {
		if err := restart(e, "rolling-restart", e.Backend.Nodes()[i]); err != nil {
			return err
		}
	}
	return nil
}

// restart restarts a node gracefully; its clients use other nodes meanwhile.
func restart(e *Env, name string, n *testcluster.Node) error {
	f := e.Begin(name, model.Move, "", true, n)
	e.Traffic.Absent(n.ID, true)
	defer e.Traffic.Absent(n.ID, false)
	e.setUp(n, false)
	if err := e.Backend.Stop(n); err != nil {
		return err
	}
	if err := e.Backend.Start(n); err != nil {
		return err
	}
	e.setUp(n, true)
	return e.Settle(f)
}

// drain makes a node own nothing until it is restarted.
func drain(e *Env) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	n := e.Anyone()
	f := e.Begin("drain", model.Move, "", false, n)
	if err := e.order("/v1/cluster/drain", n); err != nil {
		return err
	}
	err := until(settleWithin, func() bool {
		s, err := status(context.Background(), e.Others(n)[0])
		return err == nil && s.Node(n.ID) != nil && s.Node(n.ID).Partitions == 0 && s.Moving == 0 && s.Unowned == 0
	})
	if err != nil {
		return fmt.Errorf("%s was drained and should own nothing: %w", n.ID, err)
	}
	e.Heal(f)
	f.Over = e.Rec.Now()
	e.Rest()
	return restart(e, "drain: restart", n)
}

// lostAnswers drops most answers to entries for a time, so that clients send the same
// keys again.
func lostAnswers(e *Env) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	d := e.Between(4*time.Second, 10*time.Second)
	f := e.Begin("lost-answers", model.None, fmt.Sprintf("for %.1f s", d.Seconds()), false)
	before := e.Traffic.Missed()
	e.Traffic.Deafen(true)
	e.Hold(d)
	e.Traffic.Deafen(false)
	remark(f, fmt.Sprintf("%d of them", e.Traffic.Missed()-before))
	return e.Settle(f)
}

func joinAndRemove(e *Env) error {
	n, err := join(e, "x")
	if err != nil {
		return err
	}
	e.Rest()
	return remove(e, n, true)
}

// join adds a node that no client uses, so that its faults do not affect the traffic.
func join(e *Env, prefix string) (*testcluster.Node, error) {
	if err := e.Prepare(); err != nil {
		return nil, err
	}
	n, err := e.Backend.(backend.Members).Add(fmt.Sprintf("%s%d", prefix, len(e.Rec.Faults())))
	if err != nil {
		return nil, err
	}
	e.claim(n)
	f := e.Begin("join", model.Move, "", false, n)
	if err := e.Backend.Start(n); err != nil {
		return nil, err
	}
	e.setUp(n, true)
	return n, e.Settle(f)
}

// remove removes a node by a request to the cluster.
func remove(e *Env, n *testcluster.Node, runs bool) error {
	f := e.Begin("remove", model.Move, "", false, n)
	e.setUp(n, false)
	if err := e.order("/v1/cluster/nodes/"+n.ID+"/remove", e.Others(n)...); err != nil {
		return err
	}
	if runs {
		if err := until(settleWithin, func() bool { return e.Backend.Ended(n) }); err != nil {
			return fmt.Errorf("%s was removed and should have ended: %w", n.ID, err)
		}
	}
	return errors.Join(e.Settle(f), e.Backend.(backend.Members).Forget(n))
}

func replaceWiped(e *Env) error {
	n, err := join(e, "w")
	if err != nil {
		return err
	}
	f := e.Begin("wiped", model.Kill, "", true, n)
	if err := e.down(n); err != nil {
		return err
	}
	e.Heal(f)
	if err := e.Backend.(backend.Members).Wipe(n); err != nil {
		return err
	}
	if err := e.Settle(f); err != nil {
		return err
	}
	return remove(e, n, false)
}
