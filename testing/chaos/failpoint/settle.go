package failpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"quorate/testing/chaos/model"
	"quorate/testing/testcluster"
)

const (
	// settleWithin is how long a cluster may take to be whole after a fault. It only
	// ends a run that hangs: the report has the figures.
	settleWithin = 60 * time.Second
	inUseWithin  = 2 * time.Second
	stays        = 500 * time.Millisecond // a cluster counts as whole after this long
	afterwards   = time.Second            // admissions after the fault count too
	powerless    = 3 * time.Second        // how long a lost majority lasts
	servedWithin = 5 * time.Second        // after all is whole
	orderWithin  = 15 * time.Second       // of one request
)

// Settle waits until the cluster of all that run is whole again.
func (e *Env) Settle(f *model.Fault) error { return e.settle(f, func() bool { return false }) }

// settle also returns nil when hopeless does: the cluster cannot become whole, and the
// fault is not over.
func (e *Env) settle(f *model.Fault, hopeless func() bool) error {
	e.Heal(f)
	e.hurt = append(e.hurt, wounded{f, e.Rec.Now()})
	for deadline, since := time.Now().Add(settleWithin), time.Duration(0); ; time.Sleep(20 * time.Millisecond) {
		e.serve()
		asked := e.Rec.Now()
		err := e.whole()
		if err != nil {
			since = 0
		} else if since == 0 {
			since = asked
		} else if asked-since >= stays {
			f.Over = since
			break
		}
		if hopeless() {
			return nil
		}
		if e.others() { // the cluster need not be whole before they are healed
			deadline = time.Now().Add(settleWithin)
		}
		if time.Now().After(deadline) {
			if err == nil {
				err = errors.New("it does not stay so")
			}
			f.Unsettled = err.Error()
			f.Over = e.Rec.Now()
			return fmt.Errorf("%s: not whole within %s: %w", f.Name, settleWithin, err)
		}
	}
	e.serve()
	return nil
}

// wounded is a fault whose nodes keep their clients waiting until they answer a check
// after healed.
type wounded struct {
	*model.Fault
	healed time.Duration
}

// serve records which nodes answer again.
func (e *Env) serve() {
	e.hurt = slices.DeleteFunc(e.hurt, func(w wounded) bool {
		for _, n := range e.Backend.Nodes() {
			if slices.Contains(w.Hurt, n.ID) && (!slices.Contains(e.Up(), n) || e.Rec.Answered(n.ID) <= w.healed) {
				return false
			}
		}
		w.HurtUntil = e.Rec.Now()
		return true
	})
}

// others reports whether the cause of another fault remains.
func (e *Env) others() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.unhealed > len(e.open)
}

func (e *Env) whole() error {
	up := e.Up()
	err := testcluster.Agree(up)
	if err == nil {
		return nil
	}
	for _, n := range up {
		if e.Backend.Ended(n) {
			return fmt.Errorf("%s has ended by itself: %s", n.ID, e.Backend.Log(n, 3))
		}
	}
	return err
}

// Rest waits, so that the run includes admissions after a fault.
func (e *Env) Rest() { time.Sleep(afterwards) }

// down kills a node and records it.
func (e *Env) down(n *testcluster.Node) error {
	e.setUp(n, false)
	return e.Backend.Kill(n)
}

// without waits until the cluster is whole without the nodes that are down. If the
// rest is no majority, it waits for the time powerless.
func (e *Env) without(f *model.Fault) error {
	alone := time.Time{}
	return e.settle(f, func() bool {
		if e.majority() {
			alone = time.Time{}
			return false
		}
		if alone.IsZero() {
			alone = time.Now()
		}
		return time.Since(alone) > powerless
	})
}

// back starts nodes again and waits until the cluster is whole. It may cost what a
// planned move may cost.
func (e *Env) back(f *model.Fault, nodes ...*testcluster.Node) error {
	g := e.Begin(f.Name+": back", model.Move, "", false, nodes...)
	for _, n := range nodes {
		if err := e.Backend.Start(n); err != nil {
			return err
		}
		e.setUp(n, true)
	}
	for i := range e.hurt {
		e.hurt[i].healed = e.Rec.Now()
	}
	err := e.Settle(g)
	if f.Over == 0 {
		f.Over = g.Over
	}
	return err
}

// order sends an administrative request to one node after the other until one
// succeeds.
func (e *Env) order(path string, to ...*testcluster.Node) (err error) {
	deadline := time.Now().Add(settleWithin)
	for i := 0; time.Now().Before(deadline); i++ {
		ctx, cancel := context.WithTimeout(context.Background(), orderWithin)
		var r *testcluster.Reply
		r, err = to[i%len(to)].Do(ctx, "POST", path, nil)
		cancel()
		if err == nil && r.Status == 200 {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("%s", r)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("order %s: %w", path, err)
}

var errNever = errors.New("it never did")

// until waits for a condition.
func until(within time.Duration, cond func() bool) error {
	for deadline := time.Now().Add(within); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errNever
		}
	}
	return nil
}
