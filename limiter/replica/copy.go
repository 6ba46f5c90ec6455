package replica

import (
	"time"

	"quorate/limiter/bucket"
)

// Origin orders the statements of all owners that a bucket ever had: a later
// epoch's replace an earlier one's, and within one owner's the later.
type Origin struct {
	Epoch uint64
	Seq   uint64
}

func (o Origin) before(p Origin) bool {
	return o.Epoch < p.Epoch || (o.Epoch == p.Epoch && o.Seq < p.Seq)
}

// Copy is what a successor knows of one bucket.
type Copy struct {
	Origin
	State    bucket.State   // anchored when the statement arrived
	Sliding  *bucket.Window // of a sliding window, likewise, and not changed; its State is nothing
	Spent    int64
	Absorbed []Count // of what stand-ins admitted, what the owner has added
}

// Take replaces the copy by a statement that arrives at now, unless it holds a
// later one.
func (c *Copy) Take(o Origin, s Statement, now time.Duration) bool {
	if !c.before(o) {
		return false
	}
	c.Origin, c.State, c.Spent, c.Absorbed = o, s.State, s.Spent, s.Absorbed
	c.State.At = now
	if c.Sliding = nil; s.Sliding != nil {
		w := s.Sliding.Came(now)
		c.Sliding = &w
	}
	return true
}

// Idle reports whether nothing is owed at now by what the copy says.
func (c *Copy) Idle(window, now time.Duration) bool {
	if c.Sliding != nil {
		w := *c.Sliding
		return w.Use(bucket.Limit{Window: window}, now) == 0
	}
	return decayed(c.State, window, now).Idle()
}

// Larger returns the state that owes more; both must be at one instant.
func Larger(a, b bucket.State) bucket.State {
	if more(a, b) {
		return a
	}
	return b
}
