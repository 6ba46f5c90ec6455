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

// Processes are the faults of nodes as such, which every backend knows.
var Processes = []Fault{
	{"kill-follower", "a node is killed that does not lead", func(e *Env) error { return kill(e, "kill-follower", (*Env).Follower) }},
	{"kill-leader", "the leader is killed", func(e *Env) error { return kill(e, "kill-leader", (*Env).Leader) }},
	{"kill-two", "two nodes are killed at once, of five", killTwo},
	{"kill-all", "all nodes are killed at once", killAll},
	{"freeze-short", "a node stands still for a moment", func(e *Env) error { return freeze(e, "freeze-short", (*Env).Anyone, 100*time.Millisecond, time.Second) }},
	{"freeze-follower", "a node that does not lead stands still for seconds", func(e *Env) error { return freeze(e, "freeze-follower", (*Env).Follower, 3*time.Second, 8*time.Second) }},
	{"freeze-leader", "the leader stands still for seconds", func(e *Env) error { return freeze(e, "freeze-leader", (*Env).Leader, 3*time.Second, 8*time.Second) }},
	{"starve", "a node gets a tenth of a processor", func(e *Env) error { return starve(e, "starve", e.Anyone()) }},
	{"starve-all", "every node gets a tenth of a processor", func(e *Env) error { return starve(e, "starve-all", e.Backend.Nodes()...) }},
	{"drain", "a node hands its buckets over by order, and restarts", drain},
	{"rolling-restart", "all nodes restart in order, one after the other", rolling},
	{"lost-answers", "clients do not hear what became of their entries", lostAnswers},
}

// Membership are the faults that are none: nodes that come, go and are replaced.
var Membership = []Fault{
	{"join-and-remove", "a fourth node joins, and is removed by order", joinAndRemove},
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

// rolling restarts in order.
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

// restart restarts a node in order; its clients go elsewhere meanwhile.
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

// drain has a node own nothing, which it does until it is started again.
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

// lostAnswers has clients miss most answers to their entries for a time, and send
// the same key again.
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

// join has one more node enter, which no client is at, so that the traffic goes on
// as it was whatever becomes of it.
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

// remove removes a node by order.
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
