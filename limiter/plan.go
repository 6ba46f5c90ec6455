package limiter

import "time"

// plan lists the hops by a map.
func (w *Walk) plan(epoch uint64, part *Part) {
	w.epoch, w.n, w.at = epoch, 0, 0
	w.plans++
	switch w.kind {
	case entryWalk:
		w.planEntry(part)
	case ownerWalk:
		w.add(hop{do: DecideAsOwner, max: ownFor})
	case fallbackWalk:
		w.planFallback(part)
	case relayWalk:
		w.planRelay(part)
	}
}

func (w *Walk) planEntry(part *Part) {
	w.owner(part.Holders[0], ownerHop)
	if part.Moving {
		w.owner(part.Holders[1], moveHop)
	}
	max := firstHop
	for _, id := range part.Holders[1:] {
		switch {
		case id == w.self:
			// The fallback is this node itself: it asks by a relay first, like any. While
			// a link is cut the leader may not hear of a handoff, so the node that the
			// partition has moved to is asked too.
			w.relay(part.Holders[0])
			if part.Moving && part.Holders[1] != w.self {
				w.relay(part.Holders[1])
			}
			w.add(hop{do: DecideAsFallback})
			return
		case id != "" && w.members.Reachable(id):
			w.ask(id, AsFallback, max)
		}
		max = secondHop
	}
	w.add(hop{do: DecideAsFallback})
}

func (w *Walk) planFallback(part *Part) {
	if w.owner(part.Holders[0], relayHop); w.n == 0 {
		w.relay(part.Holders[0])
	}
	if part.Moving && part.Holders[1] != w.self {
		w.owner(part.Holders[1], moveHop)
		w.relay(part.Holders[1])
	}
	w.add(hop{do: DecideAsFallback})
}

// planRelay asks without looking whether the node is reachable: the asking node knows
// from this one that it was a moment ago. The relay may be the owner itself, by a map
// that the asking node has not got.
func (w *Walk) planRelay(part *Part) {
	for i, id := range part.Holders[:2] {
		switch {
		case id == "" || i > 0 && !part.Moving:
		case id == w.self:
			w.add(hop{do: DecideAsOwner, max: ownFor})
		default:
			w.ask(id, AsOwner, relayedHop)
		}
	}
}

// owner adds a node that may decide as the owner.
func (w *Walk) owner(id string, max time.Duration) {
	switch {
	case id == w.self:
		w.add(hop{do: DecideAsOwner, max: ownFor})
	case id != "" && w.members.Reachable(id):
		w.ask(id, AsOwner, max)
	}
}

// relay adds a node that can still reach the owner, if one is known. Where a partition
// moves a relay asks both nodes anyway, so the same relay is asked once.
func (w *Walk) relay(owner string) {
	if owner == "" {
		return
	}
	id := w.members.Relay(owner)
	if last := w.n - 1; id == "" || last >= 0 && w.hops[last].role == AsRelay && w.hops[last].node == id {
		return
	}
	w.ask(id, AsRelay, relayHop)
}

func (w *Walk) ask(id string, role AskRole, max time.Duration) {
	w.add(hop{AskNode, role, id, max})
}

func (w *Walk) add(h hop) {
	w.hops[w.n] = h
	w.n++
}
