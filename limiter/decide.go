package limiter

import (
	"context"
	"errors"
	"time"

	"quorate/limiter/bucket"
)

// The errors of a check that is not decided here.
var (
	// ErrNotOwner: this node does not own the account, or holds no lease.
	ErrNotOwner = errors.New("not the owner")
	// ErrWouldWait: it cannot be decided at once.
	ErrWouldWait = errors.New("would have to wait")
	// ErrMayNot: this node may not decide in the owner's place.
	ErrMayNot = errors.New("this node may not decide in the owner's place")
)

// Own decides a check if this node owns the account. Its errors are that of
// waiting for c.MinIndex, ErrNotOwner, and, with noWait instead of waiting for
// anything, ErrWouldWait.
func (l *Local) Own(ctx context.Context, c *bucket.Check, d *bucket.Decision, noWait bool) error {
	if noWait && c.MinIndex > l.rules.Index() {
		return ErrWouldWait
	}
	r, open, err := l.open(ctx, c, d)
	if !open {
		return err
	}
	a := NewAttempt(noWait)
	for {
		s, wake := l.Attempt(&a, c, &r, d)
		if s.Ends() {
			return s.Err(nil)
		}
		if err := await(ctx, wake, s.For); err != nil {
			return err
		}
	}
}

// Attempt makes one try of an attempt, without waiting for anything. It returns the end
// of the attempt, or a wait after which to call it again: until wake is closed, and
// at most as long as the step says.
func (l *Local) Attempt(a *Attempt, c *bucket.Check, r *bucket.Ruling, d *bucket.Decision) (s Step, wake <-chan struct{}) {
	var changed <-chan struct{} // from before the try, so that no change is missed
	if !a.noWait {
		changed = l.RoleChanged()
	}
	out, wake := l.Try(c, r, d)
	if out == Decided {
		return Step{Do: Answer}, nil
	}
	var standing Standing
	if out == NotOwner {
		standing = l.Standing(l.cfg.Partition(c.Account))
	}
	switch s = a.Next(l.now(), out, standing); s.Do {
	case DecideAsFallback:
		l.decideAsFallback(c, r, d)
		return Step{Do: Answer}, nil
	case AwaitPartition:
		wake = changed
	}
	if !s.Ends() {
		*d = fresh(d)
	}
	return s, wake
}

// Standing returns what this node can expect of a partition on which it may not decide.
func (l *Local) Standing(p int) Standing {
	switch {
	case l.Recovering(p):
		return Recovering
	case l.Importing(p) || l.Imported(p) || l.RecentOwner(p):
		return Arriving
	}
	return Elsewhere
}

// fresh returns a decision as open left it.
func fresh(d *bucket.Decision) bucket.Decision {
	return bucket.Decision{Tier: d.Tier, Category: d.Category, Limits: d.Limits[:0], Hit: -1, DecidedBy: d.DecidedBy, Index: d.Index}
}

// awaitEpoch waits until a map of the epoch or a later one is adopted, or any role has
// changed.
func (l *Local) awaitEpoch(ctx context.Context, epoch uint64, atMost time.Duration) error {
	changed := l.RoleChanged()
	if l.Epoch() >= epoch {
		return nil
	}
	return await(ctx, changed, atMost)
}

func await(ctx context.Context, wake <-chan struct{}, atMost time.Duration) error {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// Fallback decides a check in the place of an owner that cannot be reached. Its
// errors are that of waiting for c.MinIndex and ErrMayNot.
func (l *Local) Fallback(ctx context.Context, c *bucket.Check, d *bucket.Decision) error {
	r, open, err := l.open(ctx, c, d)
	if open && !l.decideAsFallback(c, &r, d) {
		return ErrMayNot
	}
	return err
}

// decideAsFallback reports whether this node may decide as a fallback. Else the decision
// is bucket.Unavailable.
func (l *Local) decideAsFallback(c *bucket.Check, r *bucket.Ruling, d *bucket.Decision) bool {
	*d = fresh(d)
	d.Degraded = true
	if l.DecideFallback(c, r, d) {
		return true
	}
	d.Reason = bucket.Unavailable
	return false
}
