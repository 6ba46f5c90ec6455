package limiter

import "time"

// How is in which part a node is asked to decide a check.
type How uint8

// AsOwner has a node decide only what it owns; AsJudge has it find the owner
// for one who cannot, or decide in his place; AsRelay has it ask the owner and
// nobody else. Nobody who was asked by another node asks in the same part
// again, so a check makes three hops at most.
const (
	AsOwner How = iota
	AsJudge
	AsRelay
)

// The time that each hop may take; together they stay under 400 ms.
const (
	ownerHop  = 80 * time.Millisecond
	relayHop  = 60 * time.Millisecond
	firstHop  = 150 * time.Millisecond
	secondHop = 100 * time.Millisecond
	moveHop   = 200 * time.Millisecond // to who waits for a partition to be handed over
)

// Step is one attempt to have a check decided.
type Step struct {
	Node string // empty: this one
	How  How
	Hop  time.Duration
}

// Reach tells of other nodes. Calls may overlap.
type Reach interface {
	// Reachable is a hint: false when the node has not answered for a while.
	Reachable(node string) bool
	// Relay returns a node that has reached the other lately, empty without any.
	Relay(to string) string
}

// EntrySteps returns the steps of a node that a client asked, in order: the owner,
// the judges, and at last the node itself. It appends to steps.
func EntrySteps(self string, p *Part, reach Reach, steps []Step) []Step {
	own := p.Holders[0]
	steps = toOwner(steps, self, own, reach, ownerHop)
	if p.Moving {
		steps = toOwner(steps, self, p.Holders[1], reach, moveHop)
	}
	hop := firstHop
	judges := false
	for _, id := range p.Holders[1:] {
		switch {
		case id == self:
			steps = append(relay(steps, own, reach), Step{How: AsJudge})
			judges = true
		case id != "" && !judges && reach.Reachable(id):
			steps = append(steps, Step{id, AsJudge, hop})
		}
		hop = secondHop
	}
	if !judges {
		steps = append(steps, Step{How: AsJudge})
	}
	return steps
}

func toOwner(steps []Step, self, id string, reach Reach, hop time.Duration) []Step {
	switch {
	case id == self:
		return append(steps, Step{How: AsOwner})
	case id != "" && reach.Reachable(id):
		return append(steps, Step{id, AsOwner, hop})
	}
	return steps
}

// JudgeSteps returns the steps of a node that was asked as judge.
func JudgeSteps(self string, p *Part, reach Reach, steps []Step) []Step {
	own := p.Holders[0]
	steps = toOwner(steps, self, own, reach, relayHop)
	if len(steps) == 0 {
		steps = relay(steps, own, reach)
	}
	return append(steps, Step{How: AsJudge})
}

// relay adds a node that can still reach the owner, if one is known.
func relay(steps []Step, own string, reach Reach) []Step {
	if own == "" {
		return steps
	}
	if id := reach.Relay(own); id != "" {
		return append(steps, Step{id, AsRelay, relayHop})
	}
	return steps
}
