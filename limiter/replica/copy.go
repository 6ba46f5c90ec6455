package replica

import (
	"time"

	"quorate/limiter/bucket"
)

// Version orders the usage bounds of all owners that a bucket ever had: a later
// epoch's replace an earlier one's, and within one owner's the later.
type Version struct {
	Epoch uint64
	Seq   uint64
}

func (o Version) before(p Version) bool {
	return o.Epoch < p.Epoch || (o.Epoch == p.Epoch && o.Seq < p.Seq)
}

// Copy is what a successor knows of one bucket.
type Copy struct {
	Version
	State    bucket.State   // anchored when the usage bound arrived
	Sliding  *bucket.Window // of a sliding window, likewise, and not changed; its State is nothing
	Spent    int64
	Absorbed []SourceTotal // of what fallback nodes admitted, what the owner has added
}

// Apply replaces the copy by a usage bound that arrives at now, unless it holds a
// later one.
func (c *Copy) Apply(o Version, s UsageBound, now time.Duration) bool {
	if !c.before(o) {
		return false
	}
	c.Version, c.State, c.Spent, c.Absorbed = o, s.State, s.Spent, s.Absorbed
	c.State.At = now
	if c.Sliding = nil; s.Sliding != nil {
		w := s.Sliding.Absolute(now)
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
	if owesMore(a, b) {
		return a
	}
	return b
}
