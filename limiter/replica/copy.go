package replica

import (
	"time"

	"quorate/limiter/bucket"
)

// OriginEpoch orders the owners that a bucket ever had. It is twice the epoch of the
// map under which the owner began, and one more for a node that took the partition
// over from an owner that may have begun under the same map.
type OriginEpoch uint64

// NewOriginEpoch returns the origin of an owner that began under the map of an epoch.
// imported is true for the node that the partition moved to.
func NewOriginEpoch(epoch uint64, imported bool) OriginEpoch {
	o := OriginEpoch(2 * epoch)
	if imported {
		o++
	}
	return o
}

// Version orders the usage bounds of one bucket: those of a later owner replace those
// of an earlier one, and the later of one owner's replaces the earlier.
type Version struct {
	Origin OriginEpoch
	Seq    uint64
}

func (v Version) before(w Version) bool {
	return v.Origin < w.Origin || (v.Origin == w.Origin && v.Seq < w.Seq)
}

// Copy is what a successor knows of one bucket.
type Copy struct {
	Version
	State    bucket.State   // as of the arrival of the usage bound
	Sliding  *bucket.Window // likewise, of a sliding window; never changed; its State is empty
	Spent    int64
	Absorbed []SourceTotal // what the owner has added of each source
}

// Apply replaces the copy by a usage bound that arrives at now, and reports false if
// the copy holds a later one or the same.
func (c *Copy) Apply(v Version, s UsageBound, now time.Duration) bool {
	if !c.before(v) {
		return false
	}
	c.Version, c.State, c.Spent, c.Absorbed = v, s.State, s.Spent, s.Absorbed
	c.State.At = now
	if c.Sliding = nil; s.Sliding != nil {
		w := s.Sliding.Absolute(now)
		c.Sliding = &w
	}
	return true
}

// Idle reports whether by the copy nothing is owed at now.
func (c *Copy) Idle(window, now time.Duration) bool {
	if c.Sliding != nil {
		return c.Sliding.Use(bucket.Limit{Window: window}, now) == 0
	}
	return decayed(c.State, window, now).Idle()
}

// Larger returns the state that owes more. Both must be as of one instant.
func Larger(a, b bucket.State) bucket.State {
	if owesMore(a, b) {
		return a
	}
	return b
}
