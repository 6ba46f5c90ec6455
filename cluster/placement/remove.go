package placement

import (
	"errors"
	"slices"
)

// The reasons why a node cannot be removed, or cannot lead.
var (
	ErrUnknownNode = errors.New("no such node in the cluster")
	ErrLastVoter   = errors.New("it is the only node with a vote")
	ErrQuorumLoss  = errors.New("of the nodes with a vote that stay, no majority answers")
	ErrUnfit       = errors.New("it cannot lead now: it has no vote, does not answer, lags or is leaving")
)

// Removable returns nil if the node can be removed. Otherwise its error is
// ErrUnknownNode, ErrLastVoter or ErrQuorumLoss.
func (v *View) Removable(id string) error {
	s := v.server(id)
	if s == nil {
		return ErrUnknownNode
	}
	if !s.Voter {
		return nil
	}
	left, up := 0, 0
	for _, other := range v.Servers {
		if other.Voter && other.ID != id {
			left++
			if v.reachable(other.ID) {
				up++
			}
		}
	}
	switch {
	case left == 0:
		return ErrLastVoter
	case up < left/2+1:
		return ErrQuorumLoss
	}
	return nil
}

// nextRemoval returns a server that was removed by order and can leave the
// configuration: it owns nothing and grants nothing any more. If it left while
// its grants count, the change of the grantors would wait for its answer for ever.
func (l *Leader) nextRemoval(v *View) *Server {
	owned := v.Map.Owned()
	for _, s := range v.Servers {
		if !v.Nodes[s.ID].Removed || v.Removable(s.ID) != nil {
			continue
		}
		grants := slices.Contains(v.Map.Grantors, s.ID) || slices.Contains(v.Map.Retiring, s.ID)
		lost := !v.reachable(s.ID) && !v.recentlyIsolated()
		if lost || owned[s.ID] == 0 && !grants || v.Now-l.removals[s.ID] > handoffTimeout {
			return &s
		}
	}
	return nil
}
