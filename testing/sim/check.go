package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"quorate/limiter"
	"quorate/limiter/bucket"
)

// This file drives the product's walk of a check, as limiter.Router and limiter.Local
// do, with messages and virtual time in the place of goroutines and channels.

var errNoAnswer = errors.New("no answer in time")

// answer takes a decision, or the reason for which there is none.
type answer func(d bucket.Decision, err error)

// enter decides a check as the node that a client asked.
func (n *node) enter(c *bucket.Check, done func(bucket.Decision, bool)) {
	w := new(limiter.Walk)
	w.Enter(n.id, n, c)
	n.walk(w, c, func(d bucket.Decision, err error) { done(d, err == nil) })
}

// serve decides a check as another node asked for it.
func (n *node) serve(r bucket.Route, c *bucket.Check, done answer) {
	n.post(n.ownership.Heard(r.Epoch, n.clock()))
	w := new(limiter.Walk)
	w.Serve(n.id, n, r, c, false)
	n.walk(w, c, done)
}

// walk makes the steps of a walk.
func (n *node) walk(w *limiter.Walk, c *bucket.Check, done answer) {
	var decided bucket.Decision
	var took answer
	var next func(out limiter.Outcome, err error)
	next = func(out limiter.Outcome, err error) {
		part, epoch := n.local.Placement(partition(c.Account))
		switch s := w.Next(n.clock(), epoch, part, out); s.Do {
		case limiter.AskNode:
			n.ask(s, c, took)
		case limiter.DecideAsOwner:
			n.own(c, took)
		case limiter.DecideAsFallback:
			var d bucket.Decision
			err := n.local.Fallback(context.Background(), c, &d)
			took(d, err)
		case limiter.AwaitMap:
			n.await(n.local.RoleChanged(), s.For, func() { next(limiter.Pending, nil) })
		default:
			done(decided, s.Err(err))
		}
	}
	took = func(d bucket.Decision, err error) { decided = d; next(limiter.OutcomeOf(err, nil), err) }
	next(limiter.Pending, nil)
}

// own decides as the owner, by an attempt.
func (n *node) own(c *bucket.Check, done answer) {
	d := bucket.Decision{Hit: -1, DecidedBy: n.id}
	r := rules{n.w}.Rule(c)
	a := limiter.NewAttempt(false)
	var try func()
	try = func() {
		s, wake := n.local.Attempt(&a, c, &r, &d)
		if !s.Ends() {
			n.await(wake, s.For, try)
			return
		}
		if s.Do == limiter.Answer && d.Reason == bucket.OK && !d.Degraded {
			n.w.claimed(n, partition(c.Account))
		}
		done(d, s.Err(nil))
	}
	try()
}

// ask asks another node, for as long as the step says. A refusal names the map's epoch.
func (n *node) ask(s limiter.Step, c *bucket.Check, done answer) {
	to, boot, over := n.w.byID[s.Node], n.boot, false
	finish := func(d bucket.Decision, err error) {
		if n.boot == boot && !over {
			over = true
			done(d, err)
		}
	}
	n.after(s.For, func() { finish(bucket.Decision{}, errNoAnswer) })
	n.w.send(n, to, func() {
		to.serve(bucket.Route{Role: s.Role, Epoch: s.Epoch}, c, func(d bucket.Decision, err error) {
			theirs := to.ownership.Epoch()
			to.w.send(to, n, func() {
				if n.boot == boot && errors.Is(err, limiter.ErrNotOwner) {
					n.fetch(to, theirs, func() { finish(d, err) })
					return
				}
				finish(d, err)
			})
		})
	})
}

// waiter is a check that waits at a node.
type waiter struct {
	n    *node
	boot uint64
	wake <-chan struct{}
	then func()
}

// await calls then when the channel is closed, or in a while.
func (n *node) await(wake <-chan struct{}, atMost time.Duration, then func()) {
	k := &waiter{n, n.boot, wake, then}
	n.w.waiters = append(n.w.waiters, k)
	n.after(atMost, func() {
		if i := slices.Index(n.w.waiters, k); i >= 0 {
			n.w.waiters = slices.Delete(n.w.waiters, i, i+1)
			then()
		}
	})
}

// wake lets the checks go on whose channels the last event has closed.
func (w *world) wake() {
	for i := 0; i < len(w.waiters); {
		k := w.waiters[i]
		if k.woken() && !w.running(k.n) {
			i++ // at the end of its pause
			continue
		}
		if k.n.boot != k.boot || k.woken() {
			w.waiters = slices.Delete(w.waiters, i, i+1)
			if k.n.boot == k.boot {
				k.then() // may add waiters
			}
			continue
		}
		i++
	}
}

func (k *waiter) woken() bool {
	select {
	case <-k.wake:
		return true
	default:
		return false
	}
}
