package limiter

import (
	"time"

	"quorate/limiter/bucket"
)

// How is bucket.AskRole.
type AskRole = bucket.AskRole

// The roles, as in bucket.
const (
	AsOwner    = bucket.AsOwner
	AsFallback = bucket.AsFallback
	AsRelay    = bucket.AsRelay
)

// The time that each hop may take; together they stay under 400 ms.
const (
	ownerHop  = 80 * time.Millisecond
	relayHop  = 60 * time.Millisecond
	firstHop  = 150 * time.Millisecond
	secondHop = 100 * time.Millisecond
	moveHop   = 200 * time.Millisecond // to who waits for a partition to be handed over

	relayedHop = 50 * time.Millisecond // of a relay, to the owner
	settleHop  = 150 * time.Millisecond
)

// Step is one attempt to have a check decided.
type Step struct {
	Node string // empty: this one
	Role AskRole
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
			// A leader may not hear of a handover for as long as a link is cut: who took
			// it over is asked too.
			steps = relay(steps, own, reach)
			if p.Moving && p.Holders[1] != self {
				steps = relay(steps, p.Holders[1], reach)
			}
			steps = append(steps, Step{Role: AsFallback})
			judges = true
		case id != "" && !judges && reach.Reachable(id):
			steps = append(steps, Step{id, AsFallback, hop})
		}
		hop = secondHop
	}
	if !judges {
		steps = append(steps, Step{Role: AsFallback})
	}
	return steps
}

func toOwner(steps []Step, self, id string, reach Reach, hop time.Duration) []Step {
	switch {
	case id == self:
		return append(steps, Step{Role: AsOwner})
	case id != "" && reach.Reachable(id):
		return append(steps, Step{id, AsOwner, hop})
	}
	return steps
}

// FallbackSteps returns the steps of a node that was asked as judge.
func FallbackSteps(self string, p *Part, reach Reach, steps []Step) []Step {
	own := p.Holders[0]
	steps = toOwner(steps, self, own, reach, relayHop)
	if len(steps) == 0 {
		steps = relay(steps, own, reach)
	}
	if p.Moving && p.Holders[1] != self {
		steps = toOwner(steps, self, p.Holders[1], reach, moveHop)
		steps = relay(steps, p.Holders[1], reach)
	}
	return append(steps, Step{Role: AsFallback})
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
