package limiter

import (
	"errors"
	"time"

	"quorate/limiter/bucket"
)

// AskRole is bucket.AskRole.
type AskRole = bucket.AskRole

// The roles in which a node is asked, as in bucket.
const (
	AsOwner    = bucket.AsOwner
	AsFallback = bucket.AsFallback
	AsRelay    = bucket.AsRelay
)

// How long a node waits for the answer of another node.
const (
	ownerHop  = 80 * time.Millisecond
	relayHop  = 60 * time.Millisecond
	firstHop  = 150 * time.Millisecond // of the first fallback, which asks the owner and a relay itself
	secondHop = 100 * time.Millisecond // of the second fallback
	moveHop   = 200 * time.Millisecond // of the node that a partition moves to, which waits arriveFor for it

	relayedHop = 50 * time.Millisecond // of the owner that a relay asks: less than relayHop, or the answer comes too late
	settleHop  = 150 * time.Millisecond

	// A node that is asked to wait for an index of the log first gets indexWait more.
	indexWait = 2 * time.Second
)

// How long all hops of a walk may take together; then the node decides in the owner's
// place, or refuses. An answer that comes after the asking node has given up is lost,
// and the units that it took with it: so a fallback and a relay take less than the hop in
// which they are asked.
const (
	entryFor    = 400 * time.Millisecond // what a client waits
	fallbackFor = 90 * time.Millisecond  // under firstHop and secondHop
	relayFor    = 55 * time.Millisecond  // under relayHop
	leastHop    = 5 * time.Millisecond   // a hop with less time left is not made
)

// How long a check waits at a node, and how often the node tries again meanwhile. The
// retries are for lost messages and for leases, whose arrival wakes no check.
const (
	replicateFor   = 100 * time.Millisecond // for a copy to acknowledge; then the owner decides as a fallback
	replicateEvery = 35 * time.Millisecond  // each try states the bucket again: the statement before may be lost
	arriveFor      = 200 * time.Millisecond // for a partition that moves here, or the lease on a new one
	arriveEvery    = 5 * time.Millisecond
	adoptFor       = 50 * time.Millisecond // for a map that the asking node has adopted already

	settleEvery = 20 * time.Millisecond // how often a settlement is tried again, for arriveFor
)

// ownFor is the longest that an Attempt takes.
const ownFor = arriveFor + replicateFor

// late is how much longer than its deadline a hop takes only if this node itself stood
// still: a timer of a process that runs is not that late. The other node then had no
// chance to answer in time, and is asked again.
const late = 100 * time.Millisecond

// maxPlans bounds how often a walk is planned: once, and again by each newer map that is
// adopted on the way. One move of a partition makes two maps; a third may come with it.
const maxPlans = 4

// maxHops is the most hops that a plan has.
const maxHops = 6

// Membership is what a node knows of itself and of other nodes. Calls may overlap.
type Membership interface {
	// Ready reports whether this node may decide: it has applied its log as the
	// log stood when the node started.
	Ready() bool
	// Reachable is a hint: false when the node has not answered for a while.
	Reachable(node string) bool
	// Relay returns a node that has reached the other lately, empty without any.
	Relay(to string) string
}

// Action is what the driver of a Walk, an Attempt or a SettleWalk has to do next.
type Action uint8

// The actions. Those from Answer on end the walk or the attempt.
const (
	AskNode          Action = iota // ask Step.Node in Step.Role, by the map of Step.Epoch, for Step.For
	DecideAsOwner                  // make an Attempt here
	DecideAsFallback               // decide here in the owner's place
	SettleHere                     // settle at this node, if it is the owner
	AwaitMap                       // wait for the map of Step.Epoch, at most Step.For
	AwaitCopy                      // wait for a copy's acknowledgement, at most Step.For
	AwaitPartition                 // wait for a role change, at most Step.For

	Answer            // the check is decided
	AnswerNotOwner    // no node that may decide was found; the asking node goes on by its own plan
	AnswerUnavailable // no node may decide the check
	AnswerNotReady    // this node had to decide and has not caught up with its log
	AnswerBehind      // a node has not applied the index that the check waits for
	AnswerWouldWait   // the driver may not wait
)

// Step is what is to be done next.
type Step struct {
	Do    Action
	Role  AskRole       // AskNode
	Node  string        // AskNode
	Epoch uint64        // AskNode: of the map in force; AwaitMap: of the map to wait for
	For   time.Duration // the longest time that it may take
}

// Ends reports whether the step ends the walk or the attempt.
func (s *Step) Ends() bool { return s.Do >= Answer }

// Err returns the error that the end means: nil for a decision. last is the error of the
// step before.
func (s *Step) Err(last error) error {
	switch {
	case s.Do == Answer:
		return nil
	case s.Do == AnswerWouldWait:
		return ErrWouldWait
	case s.Do == AnswerNotReady:
		return errNotReady
	case last == nil:
		return ErrNotOwner
	}
	return last
}

// Outcome is what became of a step.
type Outcome uint8

// The outcomes. A walk begins with Pending, and a wait ends with it.
const (
	Pending      Outcome = iota
	Decided              // whatever the decision
	NotOwner             // the node is not the owner, or holds no lease
	Unreplicated         // of a try as owner: a copy must acknowledge first
	Failed               // any other refusal, or no answer in time
	Behind               // an index of the log was not reached
	WouldWait            // the step cannot be made without waiting
)

// OutcomeOf returns what the error of a step means. behind is the sentinel for an index
// that was not reached.
func OutcomeOf(err, behind error) Outcome {
	switch {
	case err == nil:
		return Decided
	case errors.Is(err, ErrWouldWait):
		return WouldWait
	case behind != nil && errors.Is(err, behind):
		return Behind
	case errors.Is(err, ErrNotOwner):
		return NotOwner
	}
	return Failed
}

// Walk is one check's way through the cluster as one node makes it: which nodes it
// asks, in which order and for how long, and when it decides by itself. It is a value
// without goroutines, clock or I/O: Next returns the next step, and the driver makes
// it and reports the outcome. Enter or Serve begins a zero Walk.
//
// A node that a client asked tries the owner, then the fallbacks, then decides in the
// owner's place. A node that was asked as a fallback tries the owner, directly or by a
// relay, and then decides in the owner's place. A relay asks the owner only, or is the
// owner by a newer map, and an owner asks no other node. So a check makes three hops at most.
type Walk struct {
	self    string
	members Membership
	kind    walkKind
	noWait  bool
	index   time.Duration // how much longer each hop may take: the node waits for an index of the log first

	hops     [maxHops]hop
	n, at    int
	plans    int           // how often it was planned
	epoch    uint64        // of the map that the plan follows; before, of the map to wait for
	began    time.Duration // when the wait or the hop under way began
	max      time.Duration // how long it may take, without index
	spent    time.Duration // by the waits and hops before
	waits    bool          // for the map
	repeated bool          // a hop was repeated
	unready  bool          // the last hop was skipped: this node is not ready
}

type walkKind uint8

const (
	entryWalk walkKind = iota
	ownerWalk
	fallbackWalk
	relayWalk
)

// budget is how long the hops of a walk of each kind may take together.
var budget = [...]time.Duration{entryWalk: entryFor, ownerWalk: adoptFor + ownFor, fallbackWalk: fallbackFor, relayWalk: relayFor}

// hop is one hop of a plan.
type hop struct {
	do   Action
	role AskRole
	node string
	max  time.Duration
}

// Enter begins the walk of a check that a client asked node self for.
func (w *Walk) Enter(self string, members Membership, c *bucket.Check) {
	w.self, w.members = self, members
	if c.MinIndex > 0 {
		w.index = indexWait
	}
}

// Serve begins the walk of a check that another node asked node self for. With noWait
// it ends with AnswerWouldWait instead of asking another node or waiting.
func (w *Walk) Serve(self string, members Membership, r bucket.Route, c *bucket.Check, noWait bool) {
	w.Enter(self, members, c)
	w.noWait, w.epoch = noWait, r.Epoch
	switch r.Role {
	case AsOwner:
		w.kind = ownerWalk
	case AsFallback:
		w.kind = fallbackWalk
	default:
		w.kind = relayWalk
	}
}

// Next returns the next step, given the time, the map in force (its epoch and the part of
// it that holds the check's account), and what became of the step before.
func (w *Walk) Next(now time.Duration, epoch uint64, part *Part, out Outcome) Step {
	switch out {
	case Decided:
		return Step{Do: Answer}
	case Behind:
		return Step{Do: AnswerBehind}
	case WouldWait:
		return Step{Do: AnswerWouldWait}
	case Pending:
		if s, waits := w.await(now, epoch); waits {
			return s
		}
		w.plan(epoch, part)
	default:
		w.advance(now, epoch, part)
	}
	return w.hop(now, epoch, part)
}

// await returns the wait for the map that the asking node goes by: by an older one this
// node would refuse what it owns by now.
func (w *Walk) await(now time.Duration, epoch uint64) (s Step, waits bool) {
	older := w.kind != entryWalk && w.epoch > epoch
	if w.noWait && (older || w.kind != ownerWalk) {
		return Step{Do: AnswerWouldWait}, true
	}
	if !w.waits {
		w.waits, w.began, w.max = true, now, adoptFor
	}
	if left := adoptFor - (now - w.began); older && left > 0 {
		return Step{Do: AwaitMap, Epoch: w.epoch, For: left}, true
	}
	w.spend(now)
	return s, false
}

// advance chooses the next hop after one that failed.
func (w *Walk) advance(now time.Duration, epoch uint64, part *Part) {
	slept := now-w.began > w.max+w.index+late
	switch {
	// A refusal carries the map of the refusing node. A fallback keeps to its plan: the
	// node that asked it makes a new one.
	case w.kind == entryWalk && epoch > w.epoch && w.plans < maxPlans:
		w.spend(now)
		w.plan(epoch, part)
	case slept && w.hops[w.at].do == AskNode && w.kind != relayWalk && !w.repeated:
		w.repeated = true
	default:
		w.spend(now)
		w.at++
	}
}

// spend takes the time of a wait or a hop from the walk's. The time that this node stood
// still is not the walk's.
func (w *Walk) spend(now time.Duration) { w.spent += min(now-w.began, w.max) }

// hop returns the step of the hop at hand. A hop that this node may not make is one that
// failed.
func (w *Walk) hop(now time.Duration, epoch uint64, part *Part) Step {
	for w.unready = false; w.at < w.n; w.at++ {
		h := &w.hops[w.at]
		left := budget[w.kind] - w.spent
		switch {
		case h.do != AskNode && !w.members.Ready():
			w.unready = true
			continue
		case h.do == AskNode && left < leastHop:
			continue
		}
		w.began, w.max = now, h.max
		if h.do == AskNode {
			w.max = min(h.max, left)
		}
		return Step{Do: h.do, Role: h.role, Node: h.node, Epoch: epoch, For: w.max + w.index}
	}
	switch {
	case w.unready:
		return Step{Do: AnswerNotReady}
	case w.kind == entryWalk || w.kind == fallbackWalk:
		return Step{Do: AnswerUnavailable}
	}
	return Step{Do: AnswerNotOwner}
}
