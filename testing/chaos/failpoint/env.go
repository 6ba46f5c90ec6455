package failpoint

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"quorate/testing/chaos/model"
	"quorate/testing/testcluster"
)

// Env is one fault's view of a run. Its methods are for one goroutine.
type Env struct {
	*Run
	Rng      *rand.Rand
	prepared bool
	mine     []*testcluster.Node
	open     []*model.Fault // begun and not healed
	hurt     []wounded      // faults whose clients may still wait
	instead  bool           // the node that was taken last is not one that the fault asked for
}

// leave releases the nodes that this fault used.
func (e *Env) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.mine {
		e.taken = slices.DeleteFunc(e.taken, func(o *testcluster.Node) bool { return o == n })
	}
	e.unhealed -= len(e.open) // not healed if the fault failed
}

// take reserves a random running node that no other fault uses and that is wanted. If
// there is none, it reserves any other.
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
			fit, e.instead = others, true
		}
	}
	n := fit[e.Rng.IntN(len(fit))]
	e.claimLocked(n)
	return n
}

func (e *Env) claimLocked(n *testcluster.Node) {
	e.taken, e.mine = append(e.taken, n), append(e.mine, n)
}

// claim reserves a node for this fault.
func (e *Env) claim(n *testcluster.Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.claimLocked(n)
}

// Leader takes the leader that was last seen, or a random node if there is none.
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

// Others returns the running nodes without those given.
func (e *Env) Others(but ...*testcluster.Node) []*testcluster.Node {
	return slices.DeleteFunc(e.Up(), func(n *testcluster.Node) bool { return slices.Contains(but, n) })
}

// Between draws a duration from a log-uniform distribution.
func (e *Env) Between(low, high time.Duration) time.Duration {
	return time.Duration(float64(low) * math.Pow(float64(high)/float64(low), e.Rng.Float64()))
}

// Prepare starts the use of new buckets, and waits until a part of each is used.
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

// Begin records that a fault begins now. With hurts, clients of its nodes may have to
// wait.
func (e *Env) Begin(name string, kind model.Kind, note string, hurts bool, nodes ...*testcluster.Node) *model.Fault {
	f := &model.Fault{Name: name, Kind: kind, Note: note, Start: e.Rec.Now(), Fresh: slices.Clone(e.Traffic.Fresh()), Spent: slices.Clone(e.Traffic.Spent())}
	for _, n := range nodes {
		f.Nodes = append(f.Nodes, n.ID)
	}
	if e.instead {
		remark(f, "another fault used the chosen node")
		e.instead = false
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

// remark adds a text to the note of a fault.
func remark(f *model.Fault, text string) {
	if f.Note != "" {
		text = f.Note + ", " + text
	}
	f.Note = text
}

// Heal records that a fault's cause is removed.
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
