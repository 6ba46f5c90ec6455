package lease

import "time"

// Handover is the leader's half: it tells when nobody can hold any more what a
// map has taken away. A leader starts a new one when it begins to lead and for
// every epoch. Its methods must not overlap.
type Handover struct {
	terms Terms
	from  time.Duration // since when a majority is known to have applied the map
	begun bool
}

// NewHandover returns the handover from the owners that maps before this one
// named.
func NewHandover(t Terms) *Handover { return &Handover{terms: t} }

// Epoch returns that of the map that took something away.
func (h *Handover) Epoch() uint64 { return h.terms.Epoch }

// Observe tells what the nodes have applied by their own word, at the instant
// now, and reports whether all leases under earlier maps have ended. applied
// holds the epoch of each node heard of.
func (h *Handover) Observe(applied map[string]uint64, now time.Duration) bool {
	if !h.begun {
		for _, ids := range [2][]string{h.terms.Grantors, h.terms.Retiring} {
			have := 0
			for _, id := range ids {
				if applied[id] >= h.terms.Epoch {
					have++
				}
			}
			if len(ids) > 0 && have < len(ids)/2+1 {
				return false
			}
		}
		h.begun, h.from = true, now
	}
	return now-h.from >= h.terms.Length+h.terms.Drift
}
