package limiter

import "time"

// Standing is what a node that may not decide on a partition as its owner can expect.
type Standing uint8

// The standings.
const (
	Elsewhere  Standing = iota // another node owns it, or this node has lost its lease
	Recovering                 // this node owns it and still fetches what others know of it
	Arriving                   // the partition or the lease on it may arrive at any moment
)

// Attempt is how one node decides one check as the owner of its account, waiting for
// what may come. Like Walk it is a value that a driver drives: each try's outcome is
// given to Next.
type Attempt struct {
	noWait       bool
	unreplicated bool
	begun        bool
	began        time.Duration
	since        time.Duration // when it was unreplicated first
}

// NewAttempt returns an attempt that begins with its first try. With noWait it ends with
// AnswerWouldWait instead of waiting.
func NewAttempt(noWait bool) Attempt { return Attempt{noWait: noWait} }

// Next returns the next step after a try: a wait, after which the driver tries again,
// DecideAsFallback, or an end. standing counts only after NotOwner.
func (a *Attempt) Next(now time.Duration, out Outcome, standing Standing) (s Step) {
	if !a.begun {
		a.begun, a.began = true, now
	}
	switch {
	case out == Decided:
		return Step{Do: Answer}
	case out == NotOwner && standing == Recovering:
		// Not all is known yet: the owner decides as one of many, not blindly.
		return Step{Do: DecideAsFallback}
	case out == NotOwner && standing == Arriving && now-a.began < arriveFor:
		s = Step{Do: AwaitPartition, For: arriveEvery}
	case out == NotOwner:
		return Step{Do: AnswerNotOwner}
	default:
		if !a.unreplicated { // the wait for a copy begins here, not with the wait for the partition
			a.unreplicated, a.since = true, now
		}
		if now-a.since >= replicateFor {
			return Step{Do: DecideAsFallback} // no copy answers
		}
		s = Step{Do: AwaitCopy, For: replicateEvery}
	}
	if a.noWait {
		return Step{Do: AnswerWouldWait}
	}
	return s
}
