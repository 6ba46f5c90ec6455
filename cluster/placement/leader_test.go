package placement

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"quorate/fsm/ledger"
)

func server(id string) Server { return Server{ID: id, Address: id + ":9", Voter: true} }

func living(id string, boot uint64) Node {
	return Node{Peer: id + ":9", Alive: true, Answers: true, Ready: true, Boot: boot}
}

// lose makes a node one that answers no more.
func lose(n *Node) { n.Alive, n.Answers, n.Silence, n.Missed = false, false, time.Minute, 600 }

// three is the view of n1, which leads n2 and n3.
func three() *View {
	v := &View{
		Self: "n1", ClusterID: "c", Map: &ledger.Map{}, Partitions: ledger.Partitions, Nodes: map[string]Node{},
		MajorityBeats: 100, Timing: DefaultTiming(),
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		v.Servers = append(v.Servers, server(id))
		v.Nodes[id] = living(id, 1)
	}
	return v
}

// edit changes a node of a view.
func edit(v *View, id string, change func(*Node)) {
	n := v.Nodes[id]
	change(&n)
	v.Nodes[id] = n
}

// decideNow decides as a leader that has just begun to lead.
func decideNow(v *View) Action {
	l := NewLeader()
	l.Begin(v.Now)
	return l.decide(v)
}

func TestDecide(t *testing.T) {
	type change = func(*Leader, *View)
	placed := decideNow(three()).Map
	retiring := *placed
	retiring.Retiring = []string{"n1", "n4"}
	without := lacking("n2")
	ungranted := *without
	ungranted.Grantors = []string{"n1", "n3"}
	owners := func(m *ledger.Map) change { return func(_ *Leader, v *View) { v.Map = m } }
	set := func(id string, f func(*Node)) change { return func(_ *Leader, v *View) { edit(v, id, f) } }
	view := func(f func(*View)) change { return func(_ *Leader, v *View) { f(v) } }
	leads := func(d time.Duration) change { return func(l *Leader, v *View) { l.since = v.Now - d } }
	ordered := func(id string, ago time.Duration) change {
		return func(l *Leader, v *View) { l.removals[id] = v.Now - ago }
	}
	isolated := view(func(v *View) { v.MajorityBeats = 3 })
	removed := func(n *Node) { n.Removed = true }
	// versions sets which version of commands each of the three knows.
	versions := func(inForce uint64, knows ...uint64) change {
		return view(func(v *View) {
			v.Version = inForce
			for i, k := range knows {
				edit(v, v.Servers[i].ID, func(n *Node) { n.Knows = k })
			}
		})
	}
	for name, c := range map[string]struct {
		change []change
		want   string
	}{
		"a cluster without an id gets one":           {[]change{view(func(v *View) { v.ClusterID = "" })}, "name"},
		"the time of the log goes on":                {[]change{owners(placed), view(func(v *View) { v.TickDue = true })}, "tick"},
		"the first map has all nodes":                {nil, "place n1.1 n2.1 n3.1"},
		"the first map waits for a node":             {[]change{set("n3", lose)}, ""},
		"but not for ever":                           {[]change{set("n3", lose), leads(time.Minute)}, "place n1.1 n2.1"},
		"nothing to do":                              {[]change{owners(placed)}, ""},
		"a lost owner's are taken away":              {[]change{owners(placed), set("n2", lose)}, "place n1.1 n3.1, unowned"},
		"but not by a leader that was isolated":      {[]change{owners(placed), set("n2", lose), isolated}, ""},
		"nor are those of a node not heard of yet":   {[]change{owners(placed), set("n2", func(n *Node) { *n = Node{Peer: "n2:9"} }), isolated}, ""},
		"a node without an answer joins no map":      {[]change{set("n2", func(n *Node) { *n = Node{Peer: "n2:9"} }), leads(time.Minute)}, "place n1.1 n3.1"},
		"silence is no loss while few pings failed":  {[]change{owners(placed), set("n2", func(n *Node) { n.Silence, n.Missed = time.Minute, 9 })}, ""},
		"nor are many failed pings within a second":  {[]change{owners(placed), set("n2", func(n *Node) { n.Silence, n.Missed = time.Second-1, 99 })}, ""},
		"nor where a voter reaches the node":         {[]change{owners(placed), set("n2", lose), set("n3", func(n *Node) { n.Reaches = []string{"n2"} })}, ""},
		"unless that voter does not answer":          {[]change{owners(placed), set("n2", lose), set("n3", func(n *Node) { n.Reaches, n.Answers = []string{"n2"}, false })}, "place n1.1 n3.1, unowned"},
		"or has no vote":                             {[]change{owners(placed), set("n2", lose), set("n3", func(n *Node) { n.Reaches = []string{"n2"} }), view(func(v *View) { v.Servers[2].Voter = false })}, "place n1.1 n3.1, unowned, grantors [n1 n2] and [n1 n2 n3]"},
		"a later boot's go to its successors":        {[]change{owners(placed), set("n2", func(n *Node) { n.Boot = 2 })}, "place n1.1 n2.2 n3.1, moving"},
		"which is no member before it is ready":      {[]change{owners(placed), set("n2", func(n *Node) { n.Boot, n.Ready = 2, false })}, "place n1.1 n3.1"},
		"nor while it lacks much of the log":         {[]change{owners(placed), set("n2", func(n *Node) { n.Boot = 2 }), view(func(v *View) { v.Commit = maxLagToJoinMap + 1 })}, "place n1.1 n3.1"},
		"an owner that lags stays":                   {[]change{owners(placed), set("n2", func(n *Node) { n.Ready = false })}, ""},
		"a fourth node joins without a vote":         {[]change{owners(placed), view(func(v *View) { v.Nodes["n4"] = living("n4", 1) })}, "join {n4 n4:9 false}"},
		"but none that only others hear":             {[]change{owners(placed), set("n3", func(n *Node) { n.Reaches = []string{"n4"} }), view(func(v *View) { v.Nodes["n4"] = Node{Peer: "n4:9", Alive: true} })}, ""},
		"a new address is taken over":                {[]change{owners(placed), set("n2", func(n *Node) { n.Peer = "n2:10" })}, "join {n2 n2:10 true}"},
		"other voters grant with the old ones":       {[]change{owners(placed), view(func(v *View) { v.Servers[2].Voter = false })}, "place n1.1 n2.1 n3.1, grantors [n1 n2] and [n1 n2 n3]"},
		"the old ones until the leases expired":      {[]change{owners(&retiring)}, ""},
		"and then no more":                           {[]change{owners(&retiring), func(l *Leader, _ *View) { l.leasesExpired = true }}, "place n1.1 n2.1 n3.1"},
		"a removed node first hands over":            {[]change{owners(placed), set("n2", removed)}, "place n1.1 n2.1 n3.1, moving, grantors [n1 n3] and [n1 n2 n3]"},
		"which a dead one cannot":                    {[]change{owners(placed), set("n2", removed), set("n2", lose)}, "remove n2"},
		"but one that an isolated leader misses":     {[]change{owners(placed), set("n2", removed), set("n2", lose), isolated}, ""},
		"nor one that does not come to it":           {[]change{owners(placed), set("n2", removed), ordered("n2", time.Minute)}, "remove n2"},
		"one that owns nothing first grants no more": {[]change{owners(without), set("n2", removed)}, "place n1.1 n2.1 n3.1, grantors [n1 n3] and [n1 n2 n3]"},
		"and then it goes":                           {[]change{owners(&ungranted), set("n2", removed)}, "remove n2"},
		"none goes where no majority would stay":     {[]change{owners(placed), set("n2", removed), set("n2", lose), set("n3", lose)}, "place n1.1, unowned"},
		"a removed node does not join again":         {[]change{owners(placed), view(func(v *View) { v.Nodes["n4"] = living("n4", 1) }), set("n4", removed)}, ""},
		"the leader's settings enter the log":        {[]change{owners(placed), view(func(v *View) { v.Settings = []ledger.Op{{Kind: ledger.OpSetting}} })}, "1 settings"},
		"all know a newer version":                   {[]change{owners(placed), versions(1, 2, 2, 2)}, "raise 2"},
		"but for one":                                {[]change{owners(placed), versions(1, 2, 1, 2)}, ""},
		"or one that was never heard":                {[]change{owners(placed), versions(1, 2, 2, 0)}, ""},
		"it is in force already":                     {[]change{owners(placed), versions(2, 2, 2, 2)}, ""},
		"an older program may not join it":           {[]change{owners(placed), versions(2, 2, 2, 2), view(func(v *View) { v.Nodes["n4"] = living("n4", 1) }), set("n4", func(n *Node) { n.Knows = 1 })}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v, l := three(), NewLeader()
			v.Now = time.Hour
			l.Begin(v.Now)
			for _, s := range v.Servers {
				l.removals[s.ID] = v.Now
			}
			for _, f := range c.change {
				f(l, v)
			}
			got := ""
			switch a := l.decide(v); {
			case a.NameCluster:
				got = "name"
			case a.Tick:
				got = "tick"
			case len(a.Settings) > 0:
				got = fmt.Sprint(len(a.Settings), " settings")
			case a.Raise != 0:
				got = fmt.Sprint("raise ", a.Raise)
			case a.Join != nil:
				got = fmt.Sprint("join ", *a.Join)
			case a.Remove != nil:
				got = fmt.Sprint("remove ", a.Remove.ID)
			case a.Map != nil:
				got = "place" + describe(a.Map)
			}
			if got != c.want {
				t.Errorf("decided %q, want %q", got, c.want)
			}
		})
	}
}

func describe(m *ledger.Map) (s string) {
	for _, k := range m.Members {
		s += fmt.Sprintf(" %s.%d", k.ID, k.Boot)
	}
	if unowned(m.Places) > 0 {
		s += ", unowned"
	}
	if slices.Contains(m.Moving, true) {
		s += ", moving"
	}
	if len(m.Retiring) > 0 {
		s += fmt.Sprint(", grantors ", m.Grantors, " and ", m.Retiring)
	}
	return s
}

// lacking returns the map of the three in which one of them owns nothing.
func lacking(id string) *ledger.Map {
	v := three()
	v.Servers = slices.DeleteFunc(v.Servers, func(s Server) bool { return s.ID == id })
	delete(v.Nodes, id)
	m := *decideNow(v).Map
	m.Grantors = []string{"n1", "n2", "n3"}
	return &m
}

// The partitions of a lost node are given away once a majority of the grantors
// has applied the map that took them away, and a lease and the drift have passed
// since; by a new leader, since it has seen that itself.
func TestLeaderWaitsForLeases(t *testing.T) {
	v, l := three(), NewLeader()
	l.Begin(v.Now)
	v.Map = l.Decide(v).Map
	edit(v, "n2", lose)
	m := l.Decide(v).Map
	if m == nil || unowned(m.Places) == 0 {
		t.Fatalf("%+v", m)
	}
	v.Map = m
	apply := func(epoch uint64, ids ...string) {
		for _, id := range ids {
			edit(v, id, func(n *Node) { n.Epoch = epoch })
		}
	}
	decide := func(in time.Duration) *ledger.Map {
		v.Now += in
		return l.Decide(v).Map
	}
	delay := takeoverDelay(m)
	apply(m.Epoch, "n1")
	if decide(time.Hour) != nil {
		t.Error("given away before a majority has applied the map")
	}
	apply(m.Epoch, "n3")
	if decide(0) != nil || decide(delay-1) != nil {
		t.Error("given away while a lease can be valid")
	}
	if !l.End() || l.End() || !l.Begin(v.Now) || l.Begin(v.Now) {
		t.Error("Begin and End report no change of leadership")
	}
	if decide(0) != nil || decide(delay-1) != nil {
		t.Error("a new leader has not waited")
	}
	if m = decide(1); m == nil || unowned(m.Places) != 0 {
		t.Error("not given away when every lease has expired")
	}
}

// A partition changes hands without a wait once the importer says that it holds it.
func TestHandoff(t *testing.T) {
	v := three()
	v.Map = decideNow(v).Map
	edit(v, "n2", func(n *Node) { n.Leaving = true })
	v.Map = decideNow(v).Map
	p := slices.Index(v.Map.Moving, true)
	to := v.Map.Members[v.Map.Places[p][1]].ID
	bits := make([]byte, ledger.Partitions/8)
	bits[p/8] |= 1 << (p % 8)
	edit(v, to, func(n *Node) { n.Imported, n.ImportedEpoch = bits, v.Map.Epoch-1 })
	if a := decideNow(v); a.Map != nil {
		t.Error("what was handed over in an earlier epoch counts")
	}
	edit(v, to, func(n *Node) { n.ImportedEpoch = v.Map.Epoch })
	m := decideNow(v).Map
	if m == nil || owner(m, p) != to || moving(m, p) {
		t.Errorf("partition %d is not of %s: %+v", p, to, m)
	}
}

func TestTooOld(t *testing.T) {
	v, l := three(), NewLeader()
	v.Version = 2
	for id, knows := range map[string]uint64{"n4": 1, "n5": 2, "n6": 0} {
		v.Nodes[id] = living(id, 1)
		edit(v, id, func(n *Node) { n.Knows = knows })
	}
	for _, want := range [][]string{{"n4"}, nil} {
		if got := l.TooOld(v); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	edit(v, "n4", func(n *Node) { n.Boot++ })
	if got := l.TooOld(v); !slices.Equal(got, []string{"n4"}) {
		t.Errorf("%v after a restart", got)
	}
}

func TestRemovable(t *testing.T) {
	for name, c := range map[string]struct {
		id     string
		down   []string
		voters int
		want   error
	}{
		"one of three":                {"n2", nil, 3, nil},
		"a dead one of three":         {"n2", []string{"n2"}, 3, nil},
		"while another is dead":       {"n2", []string{"n3"}, 3, ErrQuorumLoss},
		"the last":                    {"n1", nil, 1, ErrLastVoter},
		"one without a vote":          {"n3", []string{"n3"}, 1, nil},
		"one of two":                  {"n1", nil, 2, nil},
		"the living one of two":       {"n1", []string{"n2"}, 2, ErrQuorumLoss},
		"one that was never heard of": {"n9", nil, 3, ErrUnknownNode},
	} {
		v := three()
		for _, id := range c.down {
			v.Nodes[id] = Node{}
		}
		for i := c.voters; i < len(v.Servers); i++ {
			v.Servers[i].Voter = false
		}
		if err := v.Removable(c.id); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestTransferTarget(t *testing.T) {
	for name, c := range map[string]struct {
		to     string
		change func(v *View)
		want   string
		err    error
	}{
		"the lowest id of equals":         {"", func(*View) {}, "n2", nil},
		"the one that has applied most":   {"", func(v *View) { edit(v, "n3", func(n *Node) { n.Applied = 9 }) }, "n3", nil},
		"none that is leaving":            {"", func(v *View) { edit(v, "n2", func(n *Node) { n.Leaving = true }) }, "n3", nil},
		"none that is to be removed":      {"", func(v *View) { edit(v, "n2", func(n *Node) { n.Removed = true }) }, "n3", nil},
		"none that does not answer":       {"", func(v *View) { edit(v, "n2", lose) }, "n3", nil},
		"none without a vote":             {"", func(v *View) { v.Servers[1].Voter = false }, "n3", nil},
		"the one that is named":           {"n3", func(*View) {}, "n3", nil},
		"unless it lags":                  {"n3", func(v *View) { edit(v, "n3", func(n *Node) { n.Ready = false }) }, "", ErrUnfit},
		"unless it has no vote":           {"n3", func(v *View) { v.Servers[2].Voter = false }, "", ErrUnfit},
		"unless it is unknown":            {"n4", func(*View) {}, "", ErrUnknownNode},
		"there must be another":           {"", func(v *View) { v.Servers = v.Servers[:1] }, "", ErrLastVoter},
		"there must be another with vote": {"", func(v *View) { v.Servers[1].Voter, v.Servers[2].Voter = false, false }, "", ErrLastVoter},
		"there must be a fit one": {"", func(v *View) {
			edit(v, "n2", lose)
			edit(v, "n3", func(n *Node) { n.Ready = false })
		}, "", ErrUnfit},
	} {
		v := three()
		c.change(v)
		got, err := v.TransferTarget(c.to)
		if got.ID != c.want || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %q, %v; want %q, %v", name, got.ID, err, c.want, c.err)
		}
	}
}
