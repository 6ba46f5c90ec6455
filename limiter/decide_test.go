package limiter

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"quorate/limiter/bucket"
)

// leasing is a group whose lease comes at an instant.
type leasing struct {
	*group
	from time.Duration
}

func (l *leasing) Valid(_ int, now time.Duration) bool { return now >= l.from }

// timed returns a node that goes by the time of a bubble, and whose lease begins
// after a while.
func timed(lease time.Duration) (*Router, *group) {
	g := &group{part: holders("n1", "n2", "n3"), leased: true}
	r := g.router(perMinute("llm", bucket.Requests, 600))
	began := time.Now()
	g.local.now = func() time.Duration { return time.Since(began) }
	g.local.cfg.Leases = &leasing{g, lease}
	g.local.Adopt(&View{Epoch: 2, Nodes: 4, Parts: []Part{holders("n2", "n1", "n3")}})
	g.local.Adopt(&View{Epoch: 3, Nodes: 4, Parts: []Part{holders("n1", "n2", "n3")}})
	g.local.FinishRecovery(3, []int{0})
	return r, g
}

// A node that has just become the owner of a partition may have to wait for the lease.
// Who did long ago has lost it.
func TestNewOwnerWaitsForItsLease(t *testing.T) {
	for name, c := range map[string]struct {
		since, lease time.Duration
		once         bool
		want         error
		waits        time.Duration
	}{
		"it is there":        {0, 0, false, nil, 0},
		"it comes":           {0, 50 * time.Millisecond, false, nil, 50 * time.Millisecond},
		"it may not wait":    {0, 50 * time.Millisecond, true, ErrWouldWait, 0},
		"it comes too late":  {0, time.Hour, false, ErrNotOwner, arriveFor},
		"it was lost":        {arriveFor, time.Hour, false, ErrNotOwner, 0},
		"lost, and not wait": {arriveFor, time.Hour, true, ErrNotOwner, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, g := timed(c.lease)
				time.Sleep(c.since)
				asked := time.Now()
				var d bucket.Decision
				err := g.local.Own(t.Context(), &bucket.Check{Account: "a", Requests: 1}, &d, c.once)
				if waited := time.Since(asked); !errors.Is(err, c.want) || waited != c.waits || err == nil && (d.Reason != bucket.OK || d.Degraded) {
					t.Errorf("%v after %s, want %v after %s: %+v", err, waited, c.want, c.waits, d)
				}
			})
		})
	}
}

// Who is asked by a map that it has not adopted yet waits for that, for a moment.
func TestServeWaitsForTheMapOfWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, g := timed(0)
		c, d := bucket.Check{Account: "a", Requests: 1}, bucket.Decision{}
		g.local.Adopt(&View{Epoch: 4, Nodes: 4, Parts: []Part{holders("n2", "n1", "n3")}})
		if err := r.Serve(t.Context(), bucket.Route{Epoch: 5}, &c, &d, true); !errors.Is(err, ErrWouldWait) {
			t.Errorf("%v: it would have to wait", err)
		}
		asked := time.Now()
		if err := r.Serve(t.Context(), bucket.Route{Epoch: 5}, &c, &d, false); !errors.Is(err, ErrNotOwner) || time.Since(asked) != adoptFor {
			t.Errorf("%v after %s: it waits, and then refuses", err, time.Since(asked))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		asked = time.Now()
		if err := r.Serve(ctx, bucket.Route{Epoch: 5}, &c, &d, false); err == nil || time.Since(asked) != 0 {
			t.Errorf("%v after %s: the asking node has gone", err, time.Since(asked))
		}
		go func() {
			time.Sleep(adoptFor / 2)
			g.local.Adopt(&View{Epoch: 5, Nodes: 4, Parts: []Part{holders("n1", "n2", "n3")}})
			g.local.FinishRecovery(5, []int{0})
		}()
		asked = time.Now()
		if err := r.Serve(t.Context(), bucket.Route{Epoch: 5}, &c, &d, false); err != nil || d.DecidedBy != "n1" || time.Since(asked) > adoptFor {
			t.Errorf("%v after %s: %+v, want it decided by the map that came", err, time.Since(asked), d)
		}
	})
}
