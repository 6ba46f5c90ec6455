package failpoint

import (
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
	{"kill-all", "all nodes are killed at once", killAll},
	{"freeze-short", "a node stands still for a moment", func(e *Env) error { return freeze(e, "freeze-short", (*Env).Anyone, 100*time.Millisecond, time.Second) }},
	{"freeze-follower", "a node that does not lead stands still for seconds", func(e *Env) error { return freeze(e, "freeze-follower", (*Env).Follower, 3*time.Second, 8*time.Second) }},
	{"freeze-leader", "the leader stands still for seconds", func(e *Env) error { return freeze(e, "freeze-leader", (*Env).Leader, 3*time.Second, 8*time.Second) }},
	{"starve", "a node gets a tenth of a processor", starve},
	{"rolling-restart", "all nodes restart in order, one after the other", rolling},
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
	f.Heal = e.Rec.Now()
	if err := e.Settle(f); err != nil {
		return err
	}
	e.Rest()
	return e.back(f, n)
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
	f.Heal = e.Rec.Now()
	return e.Settle(f)
}

func starve(e *Env) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	n, d := e.Anyone(), e.Between(4*time.Second, 10*time.Second)
	f := e.Begin("starve", model.Starve, fmt.Sprintf("for %.1f s", d.Seconds()), true, n)
	if err := e.Backend.Starve(n, true); err != nil {
		return err
	}
	e.Hold(d)
	if err := e.Backend.Starve(n, false); err != nil {
		return err
	}
	f.Heal = e.Rec.Now()
	return e.Settle(f)
}

// rolling restarts in order; the clients of a node that goes down go elsewhere.
func rolling(e *Env) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	for _, i := range e.Rng.Perm(len(e.Up())) {
		n := e.Backend.Nodes()[i]
		f := e.Begin("rolling-restart", model.Move, "", true, n)
		e.Traffic.Absent(n.ID, true)
		e.setUp(n, false)
		if err := e.Backend.Stop(n); err != nil {
			return err
		}
		if err := e.Backend.Start(n); err != nil {
			return err
		}
		e.setUp(n, true)
		err := e.Settle(f)
		e.Traffic.Absent(n.ID, false)
		if err != nil {
			return err
		}
	}
	return nil
}

func joinAndRemove(e *Env) error {
	m := e.Backend.(backend.Members)
	if err := e.Prepare(); err != nil {
		return err
	}
	n := m.Add(fmt.Sprintf("x%d", len(e.Rec.Faults())))
	f := e.Begin("join", model.Move, "", false, n)
	if err := e.Backend.Start(n); err != nil {
		return err
	}
	e.setUp(n, true)
	if err := e.Settle(f); err != nil {
		return err
	}
	e.Rest()
	return remove(e, n, true)
}

// remove removes a node by order.
func remove(e *Env, n *testcluster.Node, runs bool) error {
	others := e.Others(n)
	f := e.Begin("remove", model.Move, "", false, n)
	e.setUp(n, false)
	var err error
	for _, other := range others {
		var r *testcluster.Reply
		if r, err = other.Do(bounded(e), "POST", "/v1/cluster/nodes/"+n.ID+"/remove", nil); err == nil && r.Status == 200 {
			break
		} else if err == nil {
			err = fmt.Errorf("remove %s: %s", n.ID, r)
		}
	}
	if err != nil {
		return err
	}
	if runs {
		if err := until(settleWithin, func() bool { return e.Backend.Ended(n) }); err != nil {
			return fmt.Errorf("%s was removed and should have ended: %w", n.ID, err)
		}
	}
	return e.Settle(f)
}

func replaceWiped(e *Env) error {
	m := e.Backend.(backend.Members)
	if err := e.Prepare(); err != nil {
		return err
	}
	// One that no client is at, so that the traffic goes on as it was.
	n := m.Add(fmt.Sprintf("w%d", len(e.Rec.Faults())))
	f := e.Begin("join", model.Move, "", false, n)
	if err := e.Backend.Start(n); err != nil {
		return err
	}
	e.setUp(n, true)
	if err := e.Settle(f); err != nil {
		return err
	}
	f = e.Begin("wiped", model.Kill, "", true, n)
	if err := e.down(n); err != nil {
		return err
	}
	f.Heal = e.Rec.Now()
	if err := m.Wipe(n); err != nil {
		return err
	}
	if err := e.Settle(f); err != nil {
		return err
	}
	return remove(e, n, false)
}
