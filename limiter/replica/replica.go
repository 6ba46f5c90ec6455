// Package replica keeps the count of a bucket when its owner dies.
//
// The owner sends its copies an upper bound of the use before the units are taken, and
// admits only up to what a copy has acknowledged, plus a slack. That slack is all that
// a killed owner can cost. A node that decides while the owner cannot be reached, a
// fallback node, counts what it admits apart, and the owner adds it later.
//
// The package is pure: it handles one bucket at a time, time is an argument, messages
// are values. Instants are monotonic and local; only durations travel.
package replica

import (
	"math"
	"math/bits"
	"time"

	"quorate/limiter/bucket"
)

// Rule is what the policy says of replication.
type Rule = bucket.Replication

const (
	// publishAhead is how long a usage bound near the limit lasts.
	publishAhead = 150 * time.Millisecond
	// resendAfter is the time without an answer after which a usage bound is
	// published again.
	resendAfter = 30 * time.Millisecond
)

// slackUnits returns the slack of a limit, at least 1.
func slackUnits(r Rule, l bucket.Limit) int64 { return max(1, l.Burst*r.Slack/100) }

// slack returns how far the use may be ahead of what a copy has acknowledged. Near the
// limit that is nothing: a copy must know of a bucket that is used up.
func slack(r Rule, l bucket.Limit, use bucket.State) int64 {
	switch {
	case r.Mode == bucket.Async:
		return math.MaxInt64
	case r.Mode == bucket.Sync || l.Burst-use.Units <= slackUnits(r, l):
		return 0
	}
	return slackUnits(r, l)
}

// upperBound returns what is published for a use: a little more, so that not every
// check publishes.
func upperBound(r Rule, l bucket.Limit, use bucket.State, cost int64) bucket.State {
	more := max(slackUnits(r, l), cost)
	// Without slack the bound must also hold what comes back until the answer arrives.
	// Else the copy owes less than the cost by then, and the check waits for ever.
	lasting := cost + refill(l, publishAhead) + 2
	switch {
	case l.Burst-use.Units-cost <= slackUnits(r, l):
		more = lasting
	case r.Mode == bucket.Sync:
		more = max(more, lasting)
	}
	return use.Add(more)
}

// refill returns the whole units that come back in a time.
func refill(l bucket.Limit, t time.Duration) int64 {
	hi, lo := bits.Mul64(uint64(t), uint64(l.Limit))
	if hi >= uint64(l.Window) {
		return math.MaxInt64 / 4
	}
	q, _ := bits.Div64(hi, lo, uint64(l.Window))
	return int64(min(q, math.MaxInt64/4))
}

// decayed returns the state at now by the rate that was published with it, whatever
// the limit is meanwhile: the copy decays by that rate too.
func decayed(s bucket.State, window, now time.Duration) bucket.State {
	if s.Rate == 0 {
		return s
	}
	return s.Decay(bucket.Limit{Limit: s.Rate, Window: window}, now)
}

// owesMore reports whether a owes more than b.
func owesMore(a, b bucket.State) bool {
	return a.Units > b.Units || (a.Units == b.Units && a.Frac > b.Frac)
}
