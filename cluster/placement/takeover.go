package placement

import (
	"time"

	"quorate/fsm/ledger"
)

// TakeoverWait determines when no lease under an earlier map can be valid any
// more, so that what a map took away from an owner can be given to another. A
// leader starts a new one when it begins to lead and for every epoch. Its
// methods must not overlap.
type TakeoverWait struct {
	m       *ledger.Map
	started bool
	start   time.Duration // when a majority of the grantors was known to have applied the map
}

// NewTakeoverWait returns the wait for the end of all leases under maps before m.
func NewTakeoverWait(m *ledger.Map) *TakeoverWait { return &TakeoverWait{m: m} }

// Epoch returns the epoch of the map whose predecessors' leases must end.
func (w *TakeoverWait) Epoch() uint64 { return w.m.Epoch }

// Observe reports whether all leases under earlier maps have ended at the
// instant now. applied returns the epoch that a node says it has applied.
func (w *TakeoverWait) Observe(applied func(id string) uint64, now time.Duration) bool {
	if !w.started {
		for _, ids := range [2][]string{w.m.Grantors, w.m.Retiring} {
			have := 0
			for _, id := range ids {
				if applied(id) >= w.m.Epoch {
					have++
				}
			}
			if len(ids) > 0 && have < len(ids)/2+1 {
				return false
			}
		}
		w.started, w.start = true, now
	}
	return now-w.start >= takeoverDelay(w.m)
}

// takeoverDelay is how long a lease can last after its grantors refuse to renew
// it, on the slowest clock.
func takeoverDelay(m *ledger.Map) time.Duration { return m.Lease + m.Drift }
