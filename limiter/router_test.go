package limiter

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"quorate/limiter/bucket"
)

// group is a made-up cluster: who holds what, who is down, and what they answer.
type group struct {
	part   Part
	down   map[string]bool
	known  map[string]bool // nodes already known to be down
	relay  string
	err    error
	behind bool // this node is not ready
	leased bool // this node has leases
	cut    bool // no majority is reached
	newer  *View
	news   int           // how many maps are newer than that, each known to the node that is asked next
	stalls time.Duration // how long this node stands still while it asks
	local  *Local
	now    time.Duration
	asked  []string

	settled map[string]bucket.Settled // by node; others own nothing
	refuses int                       // after how many settlements one is made all the same
}

func (g *group) Settle(_ context.Context, id string, _ *bucket.Settlement) (bucket.Settled, error) {
	g.asked = append(g.asked, id)
	if g.down[id] {
		return bucket.SettledUnknown, errors.New("connection refused")
	}
	if what, ok := g.settled[id]; ok {
		return what, nil
	}
	if g.refuses--; g.refuses == 0 {
		return bucket.SettledNow, nil
	}
	return bucket.SettledUnknown, ErrNotOwner
}

func (g *group) Reachable(id string) bool      { return !g.known[id] }
func (g *group) Relay(string) string           { return g.relay }
func (g *group) Ready() bool                   { return !g.behind }
func (g *group) Valid(int, time.Duration) bool { return g.leased }
func (g *group) Majority() bool                { return !g.cut }
func (g *group) Publish(UsageBound)            {}

func (g *group) Check(_ context.Context, id string, route bucket.Route, _ *bucket.Check, d *bucket.Decision) error {
	g.asked = append(g.asked, id+[]string{"", " fallback", " relay"}[route.Role])
	g.now += g.stalls
	switch {
	case g.newer != nil:
		g.local.Adopt(g.newer)
		if g.newer = nil; g.news > 0 {
			g.news--
			g.newer = &View{Epoch: g.local.Epoch() + 1, Nodes: 4, Parts: []Part{g.part}}
		}
		return ErrNotOwner
	case g.down[id]:
		return errors.New("connection refused")
	case g.err != nil:
		return g.err
	}
	*d = bucket.Decision{DecidedBy: id, Degraded: route.Role == AsFallback}
	return nil
}

// router returns one of node n1 in the group.
func (g *group) router(limits ...bucket.Scoped) *Router {
	l := must(NewLocal(Config{
		Node: "n1", Rules: &fixed{bucket.Ruling{Tier: 1, Category: "llm", Limits: limits}}, Leases: g, Outbox: g,
		Now:        func() time.Duration { g.now += time.Millisecond; return g.now }, // waits come to an end
		Partitions: 1, Partition: func(string) int { return 0 },
		Replication: func() bucket.Replication { return bucket.Replication{Slack: 5, CutOff: bucket.Deny} },
	}))
	g.local = l
	if g.part != (Part{}) {
		l.Adopt(&View{Epoch: 1, Nodes: 4, Parts: []Part{g.part}})
		l.FinishRecovery(1, []int{0})
	}
	return NewRouter("n1", l, g, g, errBehind)
}

func TestRouterSettlesWhereItIsKnown(t *testing.T) {
	for name, c := range map[string]struct {
		group
		want  bucket.Settled
		fails bool
		asked []string // at first
	}{
		"at the owner":            {group{settled: map[string]bucket.Settled{"n2": bucket.SettledBefore}}, bucket.SettledBefore, false, []string{"n2"}},
		"the owner knows nothing": {group{settled: map[string]bucket.Settled{"n2": bucket.SettledUnknown}}, bucket.SettledUnknown, false, []string{"n2"}},
		"it has been handed over": {group{settled: map[string]bucket.Settled{"n3": bucket.SettledOtherwise}}, bucket.SettledOtherwise, false, []string{"n2", "n3"}},
		"the owner gone":          {group{down: map[string]bool{"n2": true}}, bucket.SettledUnknown, true, []string{"n2", "n3", "n4", "n2"}},
		"no node decides yet":     {group{refuses: 7}, bucket.SettledNow, false, []string{"n2", "n3", "n4", "n2", "n3", "n4", "n2"}},
	} {
		g := c.group
		g.part = holders("n2", "n3", "n4")
		r, now := g.router(), time.Duration(0)
		g.local.now = func() time.Duration { now += 20 * time.Millisecond; return now }
		got, err := r.Settle(t.Context(), &bucket.Settlement{Account: "a", Reservation: "r"})
		if got != c.want || (err != nil) != c.fails || len(g.asked) < len(c.asked) || !slices.Equal(g.asked[:len(c.asked)], c.asked) || !c.fails && len(g.asked) > len(c.asked) {
			t.Errorf("%s: %v, %v, asked %v", name, got, err, g.asked)
		}
	}
}

func holders(ids ...string) (p Part) {
	copy(p.Holders[:], ids)
	return p
}

func TestRouterAsksTheOwnerThenJudges(t *testing.T) {
	set := func(ids ...string) map[string]bool {
		m := map[string]bool{}
		for _, id := range ids {
			m[id] = true
		}
		return m
	}
	moving := holders("n2", "n3", "n4")
	moving.Moving = true
	for name, c := range map[string]struct {
		group
		want     string
		reason   bucket.Reason
		degraded bool
		asked    []string
	}{
		"owner here":                      {group: group{part: holders("n1", "n2", "n3"), leased: true}, want: "n1"},
		"owner here without a lease":      {group: group{part: holders("n1", "n2", "n3")}, want: "n2", degraded: true, asked: []string{"n2 fallback"}},
		"owner elsewhere":                 {group: group{part: holders("n2", "n1", "n3")}, want: "n2", asked: []string{"n2"}},
		"no node owns it":                 {group: group{part: holders("", "n2", "n3")}, want: "n2", degraded: true, asked: []string{"n2 fallback"}},
		"owner fails":                     {group: group{part: holders("n2", "n3", "n4"), down: set("n2")}, want: "n3", degraded: true, asked: []string{"n2", "n3 fallback"}},
		"owner known to be down":          {group: group{part: holders("n2", "n3", "n4"), known: set("n2")}, want: "n3", degraded: true, asked: []string{"n3 fallback"}},
		"owner and first successor":       {group: group{part: holders("n2", "n3", "n4"), down: set("n2", "n3")}, want: "n4", degraded: true, asked: []string{"n2", "n3 fallback", "n4 fallback"}},
		"all others fail":                 {group: group{part: holders("n2", "n3", "n4"), down: set("n2", "n3", "n4")}, want: "n1", degraded: true, asked: []string{"n2", "n3 fallback", "n4 fallback"}},
		"first successor here":            {group: group{part: holders("n2", "n1", "n4"), down: set("n2")}, want: "n1", degraded: true, asked: []string{"n2"}},
		"first successor here, relays":    {group: group{part: holders("n2", "n1", "n4"), known: set("n2"), relay: "n4"}, want: "n4", asked: []string{"n4 relay"}},
		"it moves: its new owner decides": {group: group{part: moving, down: set("n2")}, want: "n3", asked: []string{"n2", "n3"}},
		"cut off":                         {group: group{part: holders("n2", "n3", "n4"), known: set("n2", "n3", "n4"), cut: true}, want: "n1", reason: bucket.Unavailable},
		"here but not caught up":          {group: group{part: holders("n2", "n1", "n3"), down: set("n2"), behind: true}, want: "n1", reason: bucket.Unavailable, asked: []string{"n2"}},
		"no map yet":                      {want: "n1", reason: bucket.Unavailable},
		"a refusal carries the map": {group: group{
			part:  holders("n2", "n3", "n4"),
			newer: &View{Epoch: 2, Nodes: 4, Parts: []Part{holders("n4", "n2", "n3")}},
		}, want: "n4", asked: []string{"n2", "n4"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.router(perMinute("llm", bucket.Requests, 600))
			var d bucket.Decision
			if err := r.Check(t.Context(), &bucket.Check{Account: "a", Requests: 1}, &d); err != nil {
				t.Fatal(err)
			}
			if d.DecidedBy != c.want || d.Reason != c.reason || d.Degraded != c.degraded || len(c.group.asked) != len(c.asked) {
				t.Fatalf("by %s, %v, degraded %v, asked %v", d.DecidedBy, d.Reason, d.Degraded, c.group.asked)
			}
			for i, want := range c.asked {
				if c.group.asked[i] != want {
					t.Errorf("asked %v, want %v", c.group.asked, c.asked)
				}
			}
		})
	}
}

func TestRouterReportsAPeerThatIsBehind(t *testing.T) {
	g := &group{part: holders("n2", "n1"), err: errBehind}
	var d bucket.Decision
	if err := g.router().Check(t.Context(), &bucket.Check{Account: "a"}, &d); !errors.Is(err, errBehind) {
		t.Fatalf("err = %v, want behind", err)
	}
}

func TestServedAsOwnerNeverForwards(t *testing.T) {
	g := &group{part: holders("n2", "n1")}
	r := g.router(perMinute("llm", bucket.Requests, 600))
	var d bucket.Decision
	if err := r.Serve(t.Context(), bucket.Route{}, &bucket.Check{Account: "a", Requests: 1}, &d, true); !errors.Is(err, ErrNotOwner) || len(g.asked) != 0 {
		t.Fatalf("%v %+v %v", err, d, g.asked)
	}
	if err := r.Serve(t.Context(), bucket.Route{Role: AsFallback}, &bucket.Check{Account: "a", Requests: 1}, &d, true); !errors.Is(err, ErrWouldWait) {
		t.Fatalf("a fallback may have to wait for the owner: %v", err)
	}
	if err := r.Serve(t.Context(), bucket.Route{Role: AsFallback}, &bucket.Check{Account: "a", Requests: 1}, &d, false); err != nil || d.DecidedBy != "n2" {
		t.Fatalf("%v %+v: a fallback that reaches the owner asks it", err, d)
	}
}

// A node that has not applied its log as it stood at its start does not know who
// has paid: it refuses nobody, whoever asks it and as what.
func TestANodeBehindItsLogRefusesNobody(t *testing.T) {
	for name, decide := range map[string]func(*Router, *bucket.Check, *bucket.Decision) error{
		"asked as owner": func(r *Router, c *bucket.Check, d *bucket.Decision) error {
			return r.Serve(t.Context(), bucket.Route{}, c, d, false)
		},
		"asked as owner, at once": func(r *Router, c *bucket.Check, d *bucket.Decision) error {
			return r.Serve(t.Context(), bucket.Route{}, c, d, true)
		},
		"asked as fallback": func(r *Router, c *bucket.Check, d *bucket.Decision) error {
			return r.Serve(t.Context(), bucket.Route{Role: AsFallback}, c, d, false)
		},
		"asked by a client": func(r *Router, c *bucket.Check, d *bucket.Decision) error {
			if err := r.Check(t.Context(), c, d); err != nil || d.Reason != bucket.Unavailable {
				return err
			}
			return errNotReady
		},
	} {
		g := &group{part: holders("n1", "n2"), leased: true, behind: true, down: map[string]bool{"n2": true}}
		r := g.router()
		g.local.rules = &fixed{bucket.Ruling{Reason: bucket.FreeTier}}
		var d bucket.Decision
		if err := decide(r, &bucket.Check{Account: "a", Requests: 1}, &d); !errors.Is(err, errNotReady) {
			t.Errorf("%s: decided %v, err %v", name, d.Reason, err)
		}
		if g.behind = false; decide(r, &bucket.Check{Account: "a", Requests: 1}, &d) != nil || d.Reason != bucket.FreeTier {
			t.Errorf("%s, after it has caught up: %v", name, d.Reason)
		}
	}
}

// A newer map begins a client's check anew, and not for ever. Who asks as another
// node's fallback follows the map it began by.
func TestRouterPlansAnewByANewerMap(t *testing.T) {
	for _, c := range []struct {
		news  int
		ask   bool // another node asks for a fallback
		asked int  // times of the owner
		by    string
	}{{0, false, 2, "n2"}, {2, false, 4, "n2"}, {9, false, 4, "n1"}, {9, true, 1, "n1"}} {
		g := &group{part: holders("n2", "n1", "n3"), news: c.news}
		r := g.router(perMinute("llm", bucket.Requests, 600))
		g.newer = &View{Epoch: 2, Nodes: 4, Parts: []Part{g.part}}
		q, d := bucket.Check{Account: "a", Requests: 1}, bucket.Decision{}
		var err error
		if c.ask {
			err = r.Serve(t.Context(), bucket.Route{Role: AsFallback}, &q, &d, false)
		} else {
			err = r.Check(t.Context(), &q, &d)
		}
		if err != nil || d.Reason != bucket.OK || d.DecidedBy != c.by || len(g.asked) != c.asked {
			t.Errorf("%+v: %v, by %q, asked %v", c, err, d.DecidedBy, g.asked)
		}
	}
}

// A hop that took far longer than it may was this node's own standing still: it is
// repeated, once.
func TestRouterRepeatsAHopItSleptThrough(t *testing.T) {
	for stalls, want := range map[time.Duration][]string{
		ownerHop:               {"n2", "n3 fallback", "n4 fallback"},
		ownerHop + 2*late:      {"n2", "n2", "n3 fallback", "n4 fallback"},
		ownerHop + time.Second: {"n2", "n2", "n3 fallback", "n4 fallback"},
	} {
		g := &group{part: holders("n2", "n3", "n4"), err: errors.New("no answer"), stalls: stalls}
		r := g.router(perMinute("llm", bucket.Requests, 600))
		var d bucket.Decision
		if err := r.Check(t.Context(), &bucket.Check{Account: "a", Requests: 1}, &d); err != nil || !slices.Equal(g.asked, want) || d.DecidedBy != "n1" {
			t.Errorf("%s: %v, by %q, asked %v, want %v", stalls, err, d.DecidedBy, g.asked, want)
		}
	}
}
