package sim

import (
	"errors"
	"time"

	"quorate/limiter"
	"quorate/limiter/bucket"
)

// As the product has them: see limiter/decide.go and limiter/router.go, whose
// steps these are, without goroutines.
const (
	coverFor   = 100 * time.Millisecond
	coverEvery = 35 * time.Millisecond
	comeFor    = 200 * time.Millisecond
	comeEvery  = 5 * time.Millisecond
	adoptFor   = 50 * time.Millisecond
	late       = 100 * time.Millisecond
	relayedHop = 50 * time.Millisecond
	maxAnew    = 3
)

var (
	errNoAnswer = errors.New("no answer in time")
	errMayNot   = errors.New("may not decide")
)

// answer is what becomes of a step: a decision, or why there is none.
type answer func(d bucket.Decision, err error)

// job is one check at one node, step by step.
type job struct {
	n     *node
	check *bucket.Check
	entry bool // a client's; else another node's, who asks for a judge
	steps []limiter.Step
	at    int
	epoch uint64 // of the map that the steps follow
	anew  int
	again bool // a step was repeated because this node stood still
	began time.Duration
	done  answer
}

// enter decides a check as the node that a client asked.
func (n *node) enter(c *bucket.Check, done func(bucket.Decision, bool)) {
	j := &job{n: n, check: c, entry: true, done: func(d bucket.Decision, err error) { done(d, err == nil) }}
	j.plan()
	j.step()
}

// serve decides a check as another node asked for it.
func (n *node) serve(how limiter.AskRole, epoch uint64, c *bucket.Check, done answer) {
	if epoch > n.local.Epoch() {
		if epoch > n.hurried {
			n.hurried = epoch
			n.renew()
		}
		n.learning(epoch, n.clock(), func() { n.serve(how, 0, c, done) })
		return
	}
	switch how {
	case limiter.AsOwner:
		n.own(c, done)
	case limiter.AsFallback:
		j := &job{n: n, check: c, done: done}
		j.plan()
		j.step()
	case limiter.AsRelay:
		n.relay(n.local.Part(partition(c.Account)), 0, c, done)
	}
}

// relay asks the owner, and where the partition moves who takes it over.
func (n *node) relay(part limiter.Part, i int, c *bucket.Check, done answer) {
	switch {
	case i > 1 || i == 1 && !part.Moving:
		done(bucket.Decision{}, limiter.ErrNotOwner)
	case part.Holders[i] == "" || part.Holders[i] == n.id:
		n.relay(part, i+1, c, done)
	default:
		n.ask(limiter.Step{Node: part.Holders[i], Role: limiter.AsOwner, Hop: relayedHop}, c, func(d bucket.Decision, err error) {
			if err == nil {
				done(d, nil)
				return
			}
			n.relay(part, i+1, c, done)
		})
	}
}

// learning waits until a map of the epoch is adopted, for a while.
func (n *node) learning(epoch uint64, since time.Duration, then func()) {
	if n.local.Epoch() >= epoch || n.clock()-since >= adoptFor {
		then()
		return
	}
	n.after(comeEvery, func() { n.learning(epoch, since, then) })
}

func (j *job) plan() {
	p := j.n.local.Part(partition(j.check.Account))
	j.epoch, j.at = j.n.local.Epoch(), 0
	if j.entry {
		j.steps = limiter.EntrySteps(j.n.id, &p, j.n, nil)
	} else {
		j.steps = limiter.FallbackSteps(j.n.id, &p, j.n, nil)
	}
}

// step makes the step at hand.
func (j *job) step() {
	if j.at >= len(j.steps) {
		j.done(bucket.Decision{}, errMayNot)
		return
	}
	s := j.steps[j.at]
	j.began = j.n.clock()
	switch {
	case s.Node != "":
		j.n.ask(s, j.check, j.next)
	case s.Role == limiter.AsOwner:
		j.n.own(j.check, j.next)
	case !j.n.ready():
		j.next(bucket.Decision{}, errMayNot)
	default:
		d, ok := j.n.judge(j.check)
		if !ok {
			j.next(d, errMayNot)
			return
		}
		j.next(d, nil)
	}
}

// next goes on after a step.
func (j *job) next(d bucket.Decision, err error) {
	if err == nil {
		j.done(d, nil)
		return
	}
	s := j.steps[j.at]
	switch {
	case j.entry && j.anew < maxAnew && j.n.local.Epoch() > j.epoch:
		j.anew++
		j.plan()
	case s.Node != "" && j.n.clock()-j.began > s.Hop+late && !j.again:
		j.again = true
	default:
		j.at++
	}
	j.step()
}

func (n *node) judge(c *bucket.Check) (bucket.Decision, bool) {
	d := bucket.Decision{Hit: -1, Degraded: true, DecidedBy: n.id}
	r := rules{n.w}.Rule(c)
	ok := n.local.DecideFallback(c, &r, &d)
	return d, ok
}

// own tries to decide as owner, again and again while that may help.
func (n *node) own(c *bucket.Check, done answer) {
	n.try(&attempt{c: c, done: done, began: n.clock()})
}

// attempt is one check that is tried as owner.
type attempt struct {
	c      *bucket.Check
	done   answer
	began  time.Duration
	stated time.Duration // when it was uncovered first
	over   bool
	tried  int
}

func (n *node) try(a *attempt) {
	if a.over {
		return
	}
	p := partition(a.c.Account)
	d := bucket.Decision{Hit: -1, DecidedBy: n.id}
	r := rules{n.w}.Rule(a.c)
	v, _ := n.local.Try(a.c, &r, &d)
	now := n.clock()
	if v == limiter.Unreplicated && a.stated == 0 {
		a.stated = now
	}
	finish := func(d bucket.Decision, err error) { a.over = true; a.done(d, err) }
	switch {
	case v == limiter.Decided:
		if d.Reason == bucket.OK {
			n.w.claimed(n, p)
		}
		finish(d, nil)
	case v == limiter.Unreplicated && now-a.stated >= coverFor, v == limiter.NotOwner && n.local.Recovering(p):
		d, ok := n.judge(a.c)
		if !ok {
			d.Reason = bucket.Unavailable
		}
		finish(d, nil)
	case v == limiter.Unreplicated:
		n.wait(a, coverEvery)
	case (n.local.Importing(p) || n.local.Imported(p) || n.local.RecentOwner(p)) && now-a.began < comeFor:
		n.wait(a, comeEvery)
	default:
		finish(bucket.Decision{}, limiter.ErrNotOwner)
	}
}

// wait has an attempt made again when something has happened, or in a while.
func (n *node) wait(a *attempt, atMost time.Duration) {
	n.waiting = append(n.waiting, a)
	a.tried++
	tried := a.tried
	n.after(atMost, func() {
		if a.tried == tried {
			n.try(a)
		}
	})
}

// stir tries again what waits.
func (n *node) stir() {
	was := n.waiting
	n.waiting = nil
	for _, a := range was {
		a.tried++
		n.try(a)
	}
}

// ask has another node do a step, for as long as the hop may take. A refusal
// carries the map.
func (n *node) ask(s limiter.Step, c *bucket.Check, done answer) {
	to, life, over := n.w.byID[s.Node], n.boot, false
	epoch := n.local.Epoch()
	finish := func(d bucket.Decision, err error) {
		if n.boot == life && !over {
			over = true
			done(d, err)
		}
	}
	n.after(s.Hop, func() { finish(bucket.Decision{}, errNoAnswer) })
	n.w.send(n, to, func() {
		to.serve(s.Role, epoch, c, func(d bucket.Decision, err error) {
			refuser := to.m
			to.w.send(to, n, func() {
				if n.boot != life || err == nil {
					finish(d, err)
					return
				}
				n.after(n.lag, func() { n.adopt(refuser) })
				n.after(0, func() { finish(d, err) })
			})
		})
	})
}
