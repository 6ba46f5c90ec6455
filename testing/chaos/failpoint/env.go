// Package failpoint hurts a cluster while it is under load. A fault says when it
// struck, when its cause was gone and when the cluster was whole again; what it
// may cost is validate's business.
package failpoint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/model"
	"quorate/testing/chaos/traffic"
	"quorate/testing/testcluster"
)

const (
	// settleWithin is how long a cluster may take to be whole after a fault. It is
	// here to end a run, not to praise one: the report has the figures.
	settleWithin = 60 * time.Second
	inUseWithin  = 5 * time.Second
	stays        = 500 * time.Millisecond // that it is whole counts when it stays so
	afterwards   = time.Second            // what is admitted when all is over counts too
)

// Fault is one fault that a run can strike with.
type Fault struct {
	Name string
	What string // for a person, in a few words
	Do   func(*Env) error
}

// Env is the run that faults strike. Its methods are for one goroutine.
type Env struct {
	Backend backend.Backend
	Traffic *traffic.Traffic
	Rec     *traffic.Recorder
	Rng     *rand.Rand

	mu     sync.Mutex
	up     []*testcluster.Node // that should be running; guarded by mu
	leader string              // as last seen; guarded by mu
}

// NewEnv is of a cluster whose nodes all run.
func NewEnv(b backend.Backend) *Env { return &Env{Backend: b, up: slices.Clone(b.Nodes())} }

// Up returns the nodes that should be running.
func (e *Env) Up() []*testcluster.Node {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.up)
}

func (e *Env) setUp(n *testcluster.Node, up bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.up = slices.DeleteFunc(e.up, func(o *testcluster.Node) bool { return o == n })
	if up {
		e.up = append(e.up, n)
	}
}

// Watch asks the nodes who leads until ctx ends.
func (e *Env) Watch(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		best := testcluster.Status{}
		for _, n := range e.Up() {
			if s, err := status(ctx, n); err == nil && s.Leader != nil && s.Term >= best.Term {
				best = *s
			}
		}
		leader := ""
		if best.Leader != nil {
			leader = *best.Leader
		}
		e.mu.Lock()
		e.leader = leader
		e.mu.Unlock()
		e.Rec.View(leader, best.Epoch)
	}
}

func status(ctx context.Context, n *testcluster.Node) (*testcluster.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := n.Do(ctx, "GET", "/v1/cluster", nil)
	if err != nil {
		return nil, err
	}
	s := &testcluster.Status{}
	return s, r.JSON(s)
}

// Leader returns the node that leads, as last seen; a random one where nobody
// does.
func (e *Env) Leader() *testcluster.Node {
	e.mu.Lock()
	leader := e.leader
	e.mu.Unlock()
	for _, n := range e.Up() {
		if n.ID == leader {
			return n
		}
	}
	return e.Anyone()
}

// Anyone returns a random node that runs.
func (e *Env) Anyone() *testcluster.Node {
	up := e.Up()
	return up[e.Rng.IntN(len(up))]
}

// Follower returns a random node that does not lead.
func (e *Env) Follower() *testcluster.Node {
	others := e.Others(e.Leader())
	return others[e.Rng.IntN(len(others))]
}

// Others returns the nodes that run, but for those given.
func (e *Env) Others(but ...*testcluster.Node) []*testcluster.Node {
	return slices.DeleteFunc(e.Up(), func(n *testcluster.Node) bool { return slices.Contains(but, n) })
}

// Between draws a time between two, evenly on a scale of factors.
func (e *Env) Between(low, high time.Duration) time.Duration {
	return time.Duration(float64(low) * math.Pow(float64(high)/float64(low), e.Rng.Float64()))
}

// Prepare has new buckets be used up, and waits until a part of each is.
func (e *Env) Prepare() error {
	ctx := context.Background()
	if err := e.Traffic.Rotate(ctx); err != nil {
		return err
	}
	e.Traffic.InUse(ctx, 50+e.Rng.Int64N(450), inUseWithin)
	return nil
}

// Begin notes that a fault strikes now. Clients of the nodes that it hurts may
// have to wait.
func (e *Env) Begin(name string, kind model.Kind, note string, hurts bool, nodes ...*testcluster.Node) *model.Fault {
	f := &model.Fault{Name: name, Kind: kind, Note: note, Start: e.Rec.Now(), Fresh: slices.Clone(e.Traffic.Fresh()), Spent: slices.Clone(e.Traffic.Spent())}
	for _, n := range nodes {
		f.Nodes = append(f.Nodes, n.ID)
	}
	if hurts {
		f.Hurt = f.Nodes
	}
	e.Rec.AddFault(f)
	return f
}

// Hold keeps a fault in force.
func (e *Env) Hold(d time.Duration) { time.Sleep(d) }

// Settle waits until the cluster of all that run is whole again.
func (e *Env) Settle(f *model.Fault) error {
	if f.Heal == 0 {
		f.Heal = e.Rec.Now()
	}
	deadline := time.Now().Add(settleWithin)
	for since := time.Duration(0); ; time.Sleep(20 * time.Millisecond) {
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
		if time.Now().After(deadline) {
			if err == nil {
				err = errors.New("it does not stay so")
			}
			f.Unsettled = err.Error()
			f.Over = e.Rec.Now()
			return fmt.Errorf("%s: not whole within %s: %w", f.Name, settleWithin, err)
		}
	}
	if len(f.Hurt) > 0 {
		f.HurtUntil = e.Rec.Now()
	}
	return nil
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

// Rest lets what was admitted after a fault be seen.
func (e *Env) Rest() { time.Sleep(afterwards) }

// down kills a node and notes it.
func (e *Env) down(n *testcluster.Node) error {
	e.setUp(n, false)
	return e.Backend.Kill(n)
}

// back starts nodes again and waits until the cluster is whole. What that costs
// is what a planned move may cost.
func (e *Env) back(f *model.Fault, nodes ...*testcluster.Node) error {
	g := e.Begin(f.Name+": back", model.Move, "", false, nodes...)
	for _, n := range nodes {
		if err := e.Backend.Start(n); err != nil {
			return err
		}
		e.setUp(n, true)
	}
	err := e.Settle(g)
	f.HurtUntil = e.Rec.Now()
	return err
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

// bounded is a context that ends when an order must have been answered.
func bounded(*Env) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	time.AfterFunc(settleWithin, cancel)
	return ctx
}
