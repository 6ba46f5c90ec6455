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
	inUseWithin  = 3 * time.Second
	stays        = 500 * time.Millisecond // that it is whole counts when it stays so
	afterwards   = time.Second            // what is admitted when all is over counts too
	powerless    = 3 * time.Second        // that too few are left is held
	orderWithin  = 15 * time.Second       // each time that it is given
)

// Fault is one fault that a run can strike with.
type Fault struct {
	Name string
	What string // for a person, in a few words
	Do   func(*Env) error
}

// Run is a cluster under load that faults strike. Its methods may overlap.
type Run struct {
	Backend backend.Backend
	Traffic *traffic.Traffic
	Rec     *traffic.Recorder

	mu       sync.Mutex
	up       []*testcluster.Node // that should be running; guarded by mu
	taken    []*testcluster.Node // that a fault is at; guarded by mu
	unhealed int                 // faults whose cause is not gone; guarded by mu
	leader   string              // as last seen; guarded by mu
}

// NewRun is of a cluster whose nodes all run.
func NewRun(b backend.Backend, t *traffic.Traffic, rec *traffic.Recorder) *Run {
	return &Run{Backend: b, Traffic: t, Rec: rec, up: slices.Clone(b.Nodes())}
}

// Env is what one fault at its work has of a run. Its methods are for one
// goroutine.
type Env struct {
	*Run
	Rng      *rand.Rand
	prepared bool
	mine     []*testcluster.Node
	open     []*model.Fault // that were begun and are not healed
}

// Strike has a fault strike, and waits until the cluster is whole again.
func (r *Run) Strike(f Fault, rng *rand.Rand) error { return r.strike(f, rng, false) }

func (r *Run) strike(f Fault, rng *rand.Rand, prepared bool) error {
	e := &Env{Run: r, Rng: rng, prepared: prepared}
	defer e.leave()
	return f.Do(e)
}

// leave lets other faults have what this one was at.
func (e *Env) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.mine {
		e.taken = slices.DeleteFunc(e.taken, func(o *testcluster.Node) bool { return o == n })
	}
	e.unhealed -= len(e.open) // one that could not do its work
}

// Up returns the nodes that should be running.
func (r *Run) Up() []*testcluster.Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.up)
}

func (r *Run) setUp(n *testcluster.Node, up bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up = slices.DeleteFunc(r.up, func(o *testcluster.Node) bool { return o == n })
	if up {
		r.up = append(r.up, n)
	}
}

// majority reports whether enough of the founders, who vote, should be running.
func (r *Run) majority() bool {
	founders, up := r.Backend.Nodes(), 0
	for _, n := range r.Up() {
		if slices.Contains(founders, n) {
			up++
		}
	}
	return 2*up > len(founders)
}

// Watch asks the nodes who leads until ctx ends.
func (r *Run) Watch(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		best := testcluster.Status{}
		for _, n := range r.Up() {
			if s, err := status(ctx, n); err == nil && s.Leader != nil && s.Term >= best.Term {
				best = *s
			}
		}
		leader := ""
		if best.Leader != nil {
			leader = *best.Leader
		}
		r.mu.Lock()
		r.leader = leader
		r.mu.Unlock()
		r.Rec.View(leader, best.Term, best.Epoch)
	}
}

func status(ctx context.Context, n *testcluster.Node) (*testcluster.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	r, err := n.Do(ctx, "GET", "/v1/cluster", nil)
	if err != nil {
		return nil, err
	}
	s := &testcluster.Status{}
	return s, r.JSON(s)
}

// take chooses a random one of the nodes that run, that no other fault is at and
// that are wanted, for this fault; where none is wanted, any other.
func (e *Env) take(wanted func(id, leader string) bool) *testcluster.Node {
	e.mu.Lock()
	defer e.mu.Unlock()
	var free, fit []*testcluster.Node
	for _, n := range e.up {
		if slices.Contains(e.taken, n) {
			continue
		}
		if free = append(free, n); wanted(n.ID, e.leader) {
			fit = append(fit, n)
		}
	}
	for _, others := range [][]*testcluster.Node{free, e.up} {
		if len(fit) == 0 {
			fit = others
		}
	}
	n := fit[e.Rng.IntN(len(fit))]
	e.claimLocked(n)
	return n
}

func (e *Env) claimLocked(n *testcluster.Node) {
	e.taken, e.mine = append(e.taken, n), append(e.mine, n)
}

// claim keeps other faults away from a node.
func (e *Env) claim(n *testcluster.Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.claimLocked(n)
}

// Leader takes the node that leads, as last seen; a random one where nobody does.
func (e *Env) Leader() *testcluster.Node {
	return e.take(func(id, leader string) bool { return id == leader })
}

// Anyone takes a random node.
func (e *Env) Anyone() *testcluster.Node {
	return e.take(func(string, string) bool { return true })
}

// Follower takes a random node that does not lead.
func (e *Env) Follower() *testcluster.Node {
	return e.take(func(id, leader string) bool { return id != leader })
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
	if e.prepared {
		return nil
	}
	e.prepared = true
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
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unhealed++
	e.open = append(e.open, f)
	return f
}

// note adds to what a person reads of a fault.
func note(f *model.Fault, text string) {
	if f.Note != "" {
		text = f.Note + ", " + text
	}
	f.Note = text
}

// Heal notes that a fault's cause is gone.
func (e *Env) Heal(f *model.Fault) {
	if f.Heal == 0 {
		f.Heal = e.Rec.Now()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	was := len(e.open)
	e.open = slices.DeleteFunc(e.open, func(o *model.Fault) bool { return o == f })
	e.unhealed -= was - len(e.open)
}

// Hold keeps a fault in force.
func (e *Env) Hold(d time.Duration) { time.Sleep(d) }

// Settle waits until the cluster of all that run is whole again.
func (e *Env) Settle(f *model.Fault) error { return e.settle(f, func() bool { return false }) }

// settle also ends, without a word, once nothing more can be waited for; then it
// is not over.
func (e *Env) settle(f *model.Fault, hopeless func() bool) error {
	e.Heal(f)
	for deadline, since := time.Now().Add(settleWithin), time.Duration(0); ; time.Sleep(20 * time.Millisecond) {
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
		if e.others() { // it need not be whole before they are healed
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
	if len(f.Hurt) > 0 {
		f.HurtUntil = e.Rec.Now()
	}
	return nil
}

// others reports whether the cause of another fault is not gone.
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

// Rest lets what was admitted after a fault be seen.
func (e *Env) Rest() { time.Sleep(afterwards) }

// down kills a node and notes it.
func (e *Env) down(n *testcluster.Node) error {
	e.setUp(n, false)
	return e.Backend.Kill(n)
}

// without waits until the cluster is whole without the nodes that are down, or for
// a while where those that are left are no majority.
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
	if f.Over == 0 {
		f.Over = g.Over
	}
	return err
}

// order has one node after the other carry an order out, until one has.
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
