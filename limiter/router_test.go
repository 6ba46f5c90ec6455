package limiter

import (
	"context"
	"errors"
	"testing"

	"quorate/limiter/bucket"
)

// group is a made-up cluster: who owns, who is down, and what they answer.
type group struct {
	order []string
	down  map[string]bool
	known map[string]bool // nodes already known to be down
	err   error
	ready bool
	asked []string

	settled map[string]bucket.Settled // by node; others know nothing
}

func (g *group) Settle(_ context.Context, id string, _ *bucket.Settlement) (bucket.Settled, error) {
	g.asked = append(g.asked, id)
	if g.down[id] {
		return bucket.SettledUnknown, errors.New("connection refused")
	}
	if what, ok := g.settled[id]; ok {
		return what, nil
	}
	return bucket.SettledUnknown, nil
}

func TestRouterSettlesWhereItIsKnown(t *testing.T) {
	for name, c := range map[string]struct {
		group
		want  bucket.Settled
		fails bool
		asked int
	}{
		"at the owner":              {group{settled: map[string]bucket.Settled{"n2": bucket.SettledBefore}}, bucket.SettledBefore, false, 1},
		"at a successor":            {group{settled: map[string]bucket.Settled{"n4": bucket.SettledNow}}, bucket.SettledNow, false, 3},
		"nowhere":                   {group{}, bucket.SettledUnknown, false, 3},
		"nowhere, a successor gone": {group{down: map[string]bool{"n3": true}}, bucket.SettledUnknown, false, 3},
		"the owner gone":            {group{down: map[string]bool{"n2": true}}, bucket.SettledUnknown, true, 3},
		"the owner gone, but known": {group{down: map[string]bool{"n2": true}, settled: map[string]bucket.Settled{"n3": bucket.SettledOtherwise}}, bucket.SettledOtherwise, false, 2},
	} {
		g := c.group
		g.order, g.ready = []string{"n2", "n3", "n4"}, true
		l, _, _ := newLocal()
		r := NewRouter("n1", l, &g, &g, errBehind)
		got, err := r.Settle(t.Context(), &bucket.Settlement{Account: "a", Reservation: "r"})
		if got != c.want || (err != nil) != c.fails || len(g.asked) != c.asked {
			t.Errorf("%s: %v, %v, asked %v", name, got, err, g.asked)
		}
	}
}

func (g *group) Owner(string) (ids [3]string, n int) { return ids, copy(ids[:], g.order) }
func (g *group) Reachable(id string) bool            { return !g.known[id] }
func (g *group) Ready() bool                         { return g.ready }

func (g *group) Check(_ context.Context, id string, _ *bucket.Check, d *bucket.Decision) error {
	g.asked = append(g.asked, id)
	switch {
	case g.down[id]:
		return errors.New("connection refused")
	case g.err != nil:
		return g.err
	}
	*d = bucket.Decision{DecidedBy: id}
	return nil
}

func TestRouterAsksTheOwnerThenItsSuccessors(t *testing.T) {
	for name, c := range map[string]struct {
		group
		want     string
		reason   bucket.Reason
		degraded bool
		asked    int
	}{
		"nobody owns it now":       {group: group{order: []string{"", "n2", "n3"}}, want: "n2", degraded: true, asked: 1},
		"owner here":               {group: group{order: []string{"n1", "n2", "n3"}, ready: true}, want: "n1"},
		"owner elsewhere":          {group: group{order: []string{"n2", "n1", "n3"}, ready: true}, want: "n2", asked: 1},
		"owner fails":              {group: group{order: []string{"n2", "n3", "n1"}, ready: true, down: map[string]bool{"n2": true}}, want: "n3", degraded: true, asked: 2},
		"owner known to be down":   {group: group{order: []string{"n2", "n3", "n1"}, ready: true, known: map[string]bool{"n2": true}}, want: "n3", degraded: true, asked: 1},
		"only this node is left":   {group: group{order: []string{"n2", "n3", "n1"}, ready: true, down: map[string]bool{"n2": true, "n3": true}}, want: "n1", degraded: true, asked: 2},
		"a wrong hint is survived": {group: group{order: []string{"n2"}, ready: true, known: map[string]bool{"n2": true}}, want: "n2", asked: 1},
		"here but not caught up":   {group: group{order: []string{"n1", "n2"}}, want: "n2", degraded: true, asked: 1},
		"nobody may decide":        {group: group{order: []string{"n1"}}, want: "n1", reason: bucket.Unavailable},
		"no map yet":               {group: group{ready: true}, want: "n1", reason: bucket.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			l, _, _ := newLocal()
			r := NewRouter("n1", l, &c.group, &c.group, errBehind)
			var d bucket.Decision
			if err := r.Check(t.Context(), &bucket.Check{Account: "a", Requests: 1}, &d); err != nil {
				t.Fatal(err)
			}
			if d.DecidedBy != c.want || d.Reason != c.reason || d.Degraded != c.degraded || len(c.group.asked) != c.asked {
				t.Fatalf("by %s, %v, degraded %v, asked %v", d.DecidedBy, d.Reason, d.Degraded, c.group.asked)
			}
		})
	}
}

func TestRouterReportsAPeerThatIsBehind(t *testing.T) {
	l, _, _ := newLocal()
	g := &group{order: []string{"n2", "n1"}, ready: true, err: errBehind}
	var d bucket.Decision
	if err := NewRouter("n1", l, g, g, errBehind).Check(t.Context(), &bucket.Check{Account: "a"}, &d); !errors.Is(err, errBehind) {
		t.Fatalf("err = %v, want behind", err)
	}
}

func TestForwardedCheckNeverForwards(t *testing.T) {
	l, _, _ := newLocal()
	g := &group{order: []string{"n2"}, ready: true}
	r := NewRouter("n1", l, g, g, errBehind)
	var d bucket.Decision
	if err := r.Serve(t.Context(), &bucket.Check{Account: "a"}, &d); err != nil || d.DecidedBy != "n1" || len(g.asked) != 0 {
		t.Fatalf("%v %+v %v", err, d, g.asked)
	}
	g.ready = false
	if err := r.Serve(t.Context(), &bucket.Check{Account: "a"}, &d); err == nil {
		t.Fatal("a node that has not caught up decided")
	}
}
