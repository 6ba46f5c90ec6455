// Package replica keeps the count of a bucket alive when its owner dies.
//
// The owner tells its copies an upper bound of what is used before it is used,
// and admits only up to what a copy has acknowledged plus a slack: that slack
// is all that a killed owner can cost. Who fallback nodes while the owner cannot be
// reached counts what it admits apart, and the owner adds it later.
//
// The package is pure: one bucket at a time, time is an argument, messages are
// values. Instants are monotonic and local; only durations travel.
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
	// publishAhead is for how long a usage bound near the limit lasts.
	publishAhead = 150 * time.Millisecond
	// resendAfter is after how long without an answer a usage bound is repeated.
	resendAfter = 30 * time.Millisecond
)

// slackUnits returns the slack of a limit, at least 1.
func slackUnits(r Rule, l bucket.Limit) int64 { return max(1, l.Burst*r.Slack/100) }

// slack returns how far use may be ahead of what a copy has acknowledged. Near
// the limit it is nothing: what is exhausted must be known to be.
func slack(r Rule, l bucket.Limit, use bucket.State) int64 {
	switch {
	case r.Mode == bucket.Async:
		return math.MaxInt64
	case r.Mode == bucket.Sync || l.Burst-use.Units <= slackUnits(r, l):
		return 0
	}
	return slackUnits(r, l)
}

// upperBound returns what is published for a bucket whose use is this: a little more,
// so that a usage bound is not due at every check.
func upperBound(r Rule, l bucket.Limit, use bucket.State, cost int64) bucket.State {
	more := max(slackUnits(r, l), cost)
	if l.Burst-use.Units-cost <= slackUnits(r, l) {
		// There is no slack: what comes back until the answer is needed too.
		more = cost + refill(l, publishAhead) + 2
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

// decayed returns the state at now by the rate it was published with, whatever the
// limit is meanwhile: that is how the copy decays it too.
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
