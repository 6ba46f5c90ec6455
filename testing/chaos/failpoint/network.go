package failpoint

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/model"
	"quorate/testing/testcluster"
)

// Network lists the faults of links between nodes. Clients can reach every node.
var Network = []Fault{
	{"cut-off-leader", "the leader is alone, then comes back", func(e *Env) error { return cutOff(e, "cut-off-leader", (*Env).Leader, 4*time.Second, 12*time.Second) }},
	{"cut-off-follower", "a node that does not lead is alone, then comes back", func(e *Env) error {
		return cutOff(e, "cut-off-follower", (*Env).Follower, 4*time.Second, 12*time.Second)
	}},
	{"cut-off-long", "a node is alone for 15 s; then all that was let through is paid back", cutOffLong},
	{"flapping", "a node is alone for moments, again and again", flapping},
}

// Links lists the faults of one direction of a link.
var Links = []Fault{
	{"deaf", "nothing reaches a node from the others", func(e *Env) error { return oneWay(e, "deaf", (*Env).Anyone, true) }},
	{"deaf-leader", "nothing reaches the leader from the others", func(e *Env) error { return oneWay(e, "deaf-leader", (*Env).Leader, true) }},
	{"mute", "nothing that a node sends reaches the others", func(e *Env) error { return oneWay(e, "mute", (*Env).Anyone, false) }},
	{"mute-leader", "nothing that the leader sends reaches the others", func(e *Env) error { return oneWay(e, "mute-leader", (*Env).Leader, false) }},
	{"one-link", "two nodes do not hear each other, the third hears both", oneLink},
	{"no-majority", "every node is alone", noMajority},
	{"loss", "a part of all messages is lost", loss},
}

// during injects a fault, waits and removes it.
func (e *Env) during(f *model.Fault, d time.Duration, strike func(backend.Network) error) error {
	n := e.Backend.(backend.Network)
	if err := strike(n); err != nil {
		return errors.Join(err, n.Mend())
	}
	f.Struck = e.Rec.Now()
	e.Hold(d)
	f.Mending = e.Rec.Now()
	if err := n.Mend(); err != nil {
		return err
	}
	e.Heal(f)
	return e.Settle(f)
}

func cutOff(e *Env, name string, choose func(*Env) *testcluster.Node, low, high time.Duration) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	n, d := choose(e), e.Between(low, high)
	f := e.Begin(name, model.CutOff, fmt.Sprintf("for %.1f s", d.Seconds()), false, n)
	return e.during(f, d, func(net backend.Network) error { return net.Isolate(n) })
}

// cutOffLong also waits until the buckets with constant load have paid back.
func cutOffLong(e *Env) error {
	if err := cutOff(e, "cut-off-long", (*Env).Anyone, 15*time.Second, 15*time.Second); err != nil {
		return err
	}
	e.Hold(16 * time.Second) // by then what the bound allows is refilled
	return nil
}

func flapping(e *Env) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	n := e.Anyone()
	net := e.Backend.(backend.Network)
	f := e.Begin("flapping", model.Flapping, "", false, n)
	for range 4 + e.Rng.IntN(5) {
		if err := net.Isolate(n); err != nil {
			return errors.Join(err, net.Mend())
		}
		e.Hold(e.Between(200*time.Millisecond, 2*time.Second))
		if err := net.Mend(); err != nil {
			return err
		}
		e.Hold(e.Between(200*time.Millisecond, 2*time.Second))
	}
	e.Heal(f)
	f.Note = fmt.Sprintf("for %.1f s", (f.Heal - f.Start).Seconds())
	return e.Settle(f)
}

func oneWay(e *Env, name string, choose func(*Env) *testcluster.Node, deaf bool) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	n, d := choose(e), e.Between(4*time.Second, 10*time.Second)
	f := e.Begin(name, model.OneWay, fmt.Sprintf("for %.1f s", d.Seconds()), false, n)
	return e.during(f, d, func(net backend.Network) error {
		return each(e.Others(n), func(other *testcluster.Node) error {
			if deaf {
				return net.Cut(other, n)
			}
			return net.Cut(n, other)
		})
	})
}

func oneLink(e *Env) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	a, b, d := e.Anyone(), e.Anyone(), e.Between(4*time.Second, 10*time.Second)
	f := e.Begin("one-link", model.OneLink, fmt.Sprintf("for %.1f s", d.Seconds()), false, a, b)
	return e.during(f, d, func(net backend.Network) error { return errors.Join(net.Cut(a, b), net.Cut(b, a)) })
}

func noMajority(e *Env) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	up, d := e.Up(), e.Between(4*time.Second, 10*time.Second)
	f := e.Begin("no-majority", model.NoMajority, fmt.Sprintf("for %.1f s", d.Seconds()), false, up...)
	return e.during(f, d, func(net backend.Network) error {
		return each(up, net.Isolate)
	})
}

// each affects all nodes at once.
func each(nodes []*testcluster.Node, do func(*testcluster.Node) error) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func loss(e *Env) error {
	if err := e.Prepare(); err != nil {
		return err
	}
	up, d, percent := e.Up(), e.Between(4*time.Second, 10*time.Second), 5+e.Rng.IntN(16)
	f := e.Begin("loss", model.Loss, fmt.Sprintf("of %d %% for %.1f s", percent, d.Seconds()), false, up...)
	return e.during(f, d, func(net backend.Network) error {
		return each(up, func(n *testcluster.Node) error { return net.Lose(n, percent) })
	})
}
