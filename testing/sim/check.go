package sim

import (
	"time"

	"quorate/limiter"
	"quorate/limiter/bucket"
)

// bucketRun is one bucket and what was admitted of it.
type bucketRun struct {
	account string
	limits  []bucket.Scoped
	every   time.Duration // between checks, on average
	cost    int64
	admits  []admit
}

// admit is one admission: it lies somewhere between its request and its answer.
type admit struct {
	asked, answered time.Duration
	units           int64
}

// job is one check at one node, step by step.
type job struct {
	n     *node
	check *bucket.Check
	rule  bucket.Ruling
	steps []limiter.Step
	at    int
	owner time.Duration // since when it is tried as owner; 0: it is not
	over  bool
	again bool   // a step was begun anew because this node was frozen
	epoch uint64 // of the map that the steps follow
	entry bool   // a client's: a newer map begins it anew, once
	done  func(d bucket.Decision, ok bool)
	d     bucket.Decision
}

// client asks a node now and then, for as long as the load lasts.
func (w *world) client(b *bucketRun, until time.Duration) {
	if w.now >= until {
		return
	}
	gap := time.Duration(w.rng.ExpFloat64() * float64(b.every))
	w.after(gap, func() { w.client(b, until) })
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if !n.member || !n.alive {
		return
	}
	w.stats.Checks++
	asked := w.now
	w.send(n, n, func() {
		n.enter(&bucket.Check{Account: b.account, Category: "llm", Requests: b.cost}, func(d bucket.Decision, ok bool) {
			switch {
			case !ok || d.Reason == bucket.Unavailable:
				w.stats.Failed++
			case d.Reason == bucket.OK:
				w.stats.Allowed++
				if d.Degraded {
					w.stats.Degraded++
				}
				b.admits = append(b.admits, admit{asked, w.now, b.cost})
				w.logf("admit %s at %s left %d degraded %v", b.account, n.id, d.Limits[0].Remaining, d.Degraded)
			}
		})
	})
}

// enter decides a check as the node that a client asked.
func (n *node) enter(c *bucket.Check, done func(bucket.Decision, bool)) {
	p := n.local.Part(partition(c.Account))
	n.begin(c, limiter.EntrySteps(n.id, &p, n, nil), done).entry = true
}

// serve decides a check as another node asked for it.
func (n *node) serve(how limiter.How, c *bucket.Check, done func(bucket.Decision, bool)) {
	p := n.local.Part(partition(c.Account))
	switch how {
	case limiter.AsOwner:
		n.begin(c, []limiter.Step{{How: limiter.AsOwner}}, done)
	case limiter.AsJudge:
		n.begin(c, limiter.JudgeSteps(n.id, &p, n, nil), done)
	case limiter.AsRelay:
		if p.Holders[0] == "" {
			done(bucket.Decision{}, false)
			return
		}
		n.begin(c, []limiter.Step{{Node: p.Holders[0], How: limiter.AsOwner, Hop: 50 * time.Millisecond}}, done)
	}
}

func (n *node) begin(c *bucket.Check, steps []limiter.Step, done func(bucket.Decision, bool)) *job {
	j := &job{n: n, epoch: n.table.terms.Epoch, check: c, steps: steps, at: -1, done: done, rule: rules{n.w}.Rule(c)}
	j.next()
	return j
}

func (j *job) finish(ok bool) {
	if !j.over {
		j.over = true
		j.done(j.d, ok)
	}
}

// next goes on with the next step.
func (j *job) next() {
	if j.over {
		return
	}
	if j.at++; j.at >= len(j.steps) {
		j.finish(false)
		return
	}
	s := j.steps[j.at]
	j.d = bucket.Decision{Hit: -1}
	switch {
	case s.Node != "":
		j.ask(s)
	case s.How == limiter.AsOwner:
		j.owner = j.n.w.now
		j.tryOwner()
	default:
		j.judge()
	}
}

func (j *job) judge() {
	j.d = bucket.Decision{Hit: -1, Degraded: true}
	ok := j.n.local.Judge(j.check, &j.rule, &j.d)
	j.finish(ok)
}

// tryOwner tries to decide as owner, again and again while that may help.
func (j *job) tryOwner() {
	if j.over || j.owner == 0 {
		return
	}
	n, p := j.n, partition(j.check.Account)
	waited := n.w.now - j.owner
	j.d = bucket.Decision{Hit: -1}
	v, _ := n.local.Try(j.check, &j.rule, &j.d)
	switch {
	case v == limiter.Decided:
		j.owner = 0
		j.finish(true)
	case v == limiter.Uncovered && waited >= 100*time.Millisecond, v == limiter.NotOwner && n.local.Takes(p):
		j.owner = 0
		j.judge()
	case v == limiter.Uncovered:
		n.wait(j)
	// A partition that was handed over a moment ago may come before its lease.
	case (n.local.Awaits(p) || n.local.Holds(p)) && waited < 200*time.Millisecond:
		n.wait(j)
	default:
		j.owner = 0
		j.next()
	}
}

// wait has the job tried again when something has happened, or in a while.
func (n *node) wait(j *job) {
	n.waiting = append(n.waiting, j)
	n.after(35*time.Millisecond, j.tryOwner)
}

// stir tries again what waits.
func (n *node) stir() {
	was := n.waiting
	n.waiting = nil
	for _, j := range was {
		j.tryOwner()
	}
}

// refused goes on after a refusal. It carries the map: who asked by an older one
// asks again by that.
func (j *job) refused(t *table) {
	j.n.adopt(t)
	if j.entry && j.n.table.terms.Epoch > j.epoch {
		j.entry = false
		p := j.n.local.Part(partition(j.check.Account))
		j.steps, j.at = limiter.EntrySteps(j.n.id, &p, j.n, nil), -1
	}
	j.next()
}

// ask has another node do a step, for as long as the hop may take.
func (j *job) ask(s limiter.Step) {
	n, to, at, life := j.n, j.n.w.byID[s.Node], j.at, j.n.boot
	current := func() bool { return n.boot == life && !j.over && j.at == at }
	sent := n.w.now
	n.after(s.Hop, func() {
		if !current() {
			return
		}
		// Who was frozen himself has not waited for the answer.
		if n.w.now-sent > s.Hop+beatEvery && !j.again {
			j.again = true
			j.at--
		}
		j.next()
	})
	n.w.send(n, to, func() {
		to.serve(s.How, j.check, func(d bucket.Decision, ok bool) {
			refuser := to.table
			to.w.send(to, n, func() {
				if !current() {
					return
				}
				if !ok {
					j.refused(refuser)
					return
				}
				j.d = d
				j.finish(true)
			})
		})
	})
}
