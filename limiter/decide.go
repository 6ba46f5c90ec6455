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
)

// How long a check waits, and how often it tries again meanwhile: for a copy
// (a statement that was lost is then sent anew), and for a partition that is
// being handed over to this node and for the lease on it, and for a map that who
// asks knows already; and how often a settlement is tried again.
const (
	coverFor   = 100 * time.Millisecond
	coverEvery = 35 * time.Millisecond
	comeFor    = 200 * time.Millisecond
	comeEvery  = 5 * time.Millisecond
	adoptFor   = 50 * time.Millisecond

	settleEvery = 20 * time.Millisecond
)

// Own decides a check if this node owns the account. Its errors are that of
// waiting for c.MinIndex, ErrNotOwner, and, instead of waiting for anything
// when at is once, ErrWouldWait.
func (l *Local) Own(ctx context.Context, c *bucket.Check, d *bucket.Decision, once bool) error {
	if once && c.MinIndex > l.rules.Index() {
		return ErrWouldWait
	}
	r, open, err := l.open(ctx, c, d)
	if !open {
		return err
	}
	began, stated := l.now(), time.Duration(0)
	for {
		turned := l.turned(once)
		v, wake := l.Try(c, &r, d)
		now, every := l.now(), time.Duration(0)
		if v == Unreplicated && stated == 0 {
			stated = now // the wait for a copy begins here, not with the wait for the bucket
		}
		switch p := l.cfg.Partition(c.Account); {
		case v == Decided:
			return nil
		// No copy answers, or not all is known yet: as one of many, not blindly.
		case v == Unreplicated && now-stated >= coverFor, v == NotOwner && l.Recovering(p):
			l.stand(c, &r, d)
			return nil
		case v == Unreplicated:
			every = coverEvery
		case (l.Importing(p) || l.Imported(p) || l.RecentOwner(p)) && now-began < comeFor:
			every, wake = comeEvery, turned
		default:
			return ErrNotOwner
		}
		if once {
			return ErrWouldWait
		}
		if err := await(ctx, wake, every); err != nil {
			return err
		}
		*d = fresh(d)
	}
}

// awaitEpoch waits until a map of the epoch or a later one is adopted, for a
// while.
func (l *Local) awaitEpoch(ctx context.Context, epoch uint64) {
	began := l.now()
	for {
		turned := l.Turned()
		left := adoptFor - (l.now() - began)
		if l.Epoch() >= epoch || left <= 0 || await(ctx, turned, left) != nil {
			return
		}
	}
}

// turned is Turned for who is going to wait.
func (l *Local) turned(once bool) <-chan struct{} {
	if once {
		return nil
	}
	return l.Turned()
}

// fresh returns a decision as open left it.
func fresh(d *bucket.Decision) bucket.Decision {
	return bucket.Decision{Tier: d.Tier, Category: d.Category, Limits: d.Limits[:0], Hit: -1, DecidedBy: d.DecidedBy, Index: d.Index}
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

// StandIn decides a check in the place of an owner that cannot be reached. Its
// error is that of waiting for c.MinIndex.
func (l *Local) StandIn(ctx context.Context, c *bucket.Check, d *bucket.Decision) error {
	r, open, err := l.open(ctx, c, d)
	if open {
		l.stand(c, &r, d)
	}
	return err
}

func (l *Local) stand(c *bucket.Check, r *bucket.Ruling, d *bucket.Decision) {
	*d = fresh(d)
	d.Degraded = true
	if !l.DecideFallback(c, r, d) {
		d.Reason = bucket.Unavailable
	}
}
