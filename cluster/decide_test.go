package cluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/peer"
	"quorate/fsm/ledger"
)

func server(id string, s raft.ServerSuffrage) raft.Server {
	return raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id + ":9"), Suffrage: s}
}

func living(boot uint64) func(string) nodeView {
	return func(id string) nodeView {
		return nodeView{peer: id + ":9", alive: true, up: true, ready: true, boot: boot}
	}
}

func three() view {
	v := view{clusterID: "c", owners: &ledger.Map{}, nodes: map[string]nodeView{}, timing: DefaultTiming()}
	for _, id := range []string{"n1", "n2", "n3"} {
		v.servers = append(v.servers, server(id, raft.Voter))
		v.nodes[id] = living(1)(id)
	}
	return v
}

// knowing says which version of commands each of the three knows.
func knowing(versions ...uint64) func(*view) {
	return func(v *view) {
		for i, known := range versions {
			id := string(v.servers[i].ID)
			k := v.nodes[id]
			k.knows = known
			v.nodes[id] = k
		}
	}
}

func TestDecide(t *testing.T) {
	placed := decide(three()).place
	retiring := *placed
	retiring.Retiring = []string{"n1", "n4"}
	without := lacking("n2")
	ungranted := *without
	ungranted.Grantors = []string{"n1", "n3"}
	owners := func(m *ledger.Map) func(*view) { return func(v *view) { v.owners = m } }
	set := func(id string, change func(*nodeView)) func(*view) {
		return func(v *view) { k := v.nodes[id]; change(&k); v.nodes[id] = k }
	}
	gone := func(k *nodeView) { k.removed, k.leaving = true, true }
	down := func(k *nodeView) { k.up, k.alive = false, false }
	for name, c := range map[string]struct {
		change []func(*view)
		want   string
	}{
		"a cluster without an id gets one":           {[]func(*view){func(v *view) { v.clusterID = "" }}, "name"},
		"the first map has all nodes":                {nil, "place n1.1 n2.1 n3.1"},
		"the first map waits for a node":             {[]func(*view){set("n3", down)}, ""},
		"but not for ever":                           {[]func(*view){set("n3", down), func(v *view) { v.leading = time.Minute }}, "place n1.1 n2.1"},
		"nothing to do":                              {[]func(*view){owners(placed)}, ""},
		"a lost owner's are taken from all":          {[]func(*view){owners(placed), set("n2", down)}, "place n1.1 n3.1, drained"},
		"but not by one that was cut off itself":     {[]func(*view){owners(placed), set("n2", down), func(v *view) { v.apart = true }}, ""},
		"a later life's go to its successors":        {[]func(*view){owners(placed), set("n2", func(k *nodeView) { k.boot = 2 })}, "place n1.1 n2.2 n3.1, moving"},
		"which is no member before it is ready":      {[]func(*view){owners(placed), set("n2", func(k *nodeView) { k.boot, k.ready = 2, false })}, "place n1.1 n3.1"},
		"an owner that lags stays":                   {[]func(*view){owners(placed), set("n2", func(k *nodeView) { k.ready = false })}, ""},
		"a fourth node joins without a vote":         {[]func(*view){owners(placed), func(v *view) { v.nodes["n4"] = living(1)("n4") }}, "join {Nonvoter n4 n4:9}"},
		"a new address is taken over":                {[]func(*view){owners(placed), set("n2", func(k *nodeView) { k.peer = "n2:10" })}, "join {Voter n2 n2:10}"},
		"other voters grant with the old ones":       {[]func(*view){owners(placed), func(v *view) { v.servers[2].Suffrage = raft.Nonvoter }}, "place n1.1 n2.1 n3.1, grantors [n1 n2] and [n1 n2 n3]"},
		"the old ones until a wait is over":          {[]func(*view){owners(&retiring)}, ""},
		"a removed node first hands over":            {[]func(*view){owners(placed), set("n2", gone)}, "place n1.1 n2.1 n3.1, moving, grantors [n1 n3] and [n1 n2 n3]"},
		"which a dead one cannot":                    {[]func(*view){owners(placed), set("n2", gone), set("n2", down)}, "drop n2"},
		"nor one that does not come to it":           {[]func(*view){owners(placed), set("n2", gone), set("n2", func(k *nodeView) { k.since = time.Minute })}, "drop n2"},
		"one that owns nothing first grants no more": {[]func(*view){owners(without), set("n2", gone)}, "place n1.1 n2.1 n3.1, grantors [n1 n3] and [n1 n2 n3]"},
		"and then it goes":                           {[]func(*view){owners(&ungranted), set("n2", gone)}, "drop n2"},
		"nobody goes where no majority would stay":   {[]func(*view){owners(placed), set("n2", gone), set("n2", down), set("n3", down)}, "place n1.1, drained"},
		"a removed node does not join again":         {[]func(*view){owners(placed), func(v *view) { k := living(1)("n4"); k.removed = true; v.nodes["n4"] = k }}, ""},
		"all know a newer version":                   {[]func(*view){owners(placed), knowing(2, 2, 2), func(v *view) { v.version = 1 }}, "raise 2"},
		"but for one":                                {[]func(*view){owners(placed), knowing(2, 1, 2), func(v *view) { v.version = 1 }}, ""},
		"or one that was never heard":                {[]func(*view){owners(placed), knowing(2, 2, 0), func(v *view) { v.version = 1 }}, ""},
		"it is in force already":                     {[]func(*view){owners(placed), knowing(2, 2, 2), func(v *view) { v.version = 2 }}, ""},
		"an older program may not join it": {[]func(*view){owners(placed), knowing(2, 2, 2), func(v *view) {
			k := living(1)("n4")
			v.version, k.knows = 2, 1
			v.nodes["n4"] = k
		}}, ""},
		"and then no more": {[]func(*view){owners(&retiring), func(v *view) { v.passed = true }}, "place n1.1 n2.1 n3.1"},
	} {
		t.Run(name, func(t *testing.T) {
			v := three()
			for _, change := range c.change {
				change(&v)
			}
			got := ""
			switch a := decide(v); {
			case a.name:
				got = "name"
			case a.raise != 0:
				got = fmt.Sprint("raise ", a.raise)
			case a.join != nil:
				got = fmt.Sprint("join ", *a.join)
			case a.drop != nil:
				got = fmt.Sprint("drop ", a.drop.ID)
			case a.place != nil:
				got = "place" + describe(a.place)
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
	if slices.ContainsFunc(m.Places, func(p [3]uint16) bool { return p[0] == ledger.Nobody }) {
		s += ", drained"
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
	v.servers = slices.DeleteFunc(v.servers, func(s raft.Server) bool { return string(s.ID) == id })
	delete(v.nodes, id)
	m := *decide(v).place
	m.Grantors = []string{"n1", "n2", "n3"}
	return &m
}

func TestRemovable(t *testing.T) {
	for name, c := range map[string]struct {
		id     string
		down   []string
		voters int
		want   error
	}{
		"one of three":                 {"n2", nil, 3, nil},
		"a dead one of three":          {"n2", []string{"n2"}, 3, nil},
		"while another is dead":        {"n2", []string{"n3"}, 3, ErrQuorumLoss},
		"the last":                     {"n1", nil, 1, ErrLastVoter},
		"one without a vote":           {"n3", []string{"n3"}, 1, nil},
		"one of two":                   {"n1", nil, 2, nil},
		"the living one of two":        {"n1", []string{"n2"}, 2, ErrQuorumLoss},
		"one that nobody has heard of": {"n9", nil, 3, ErrUnknownNode},
	} {
		v := three()
		for _, id := range c.down {
			v.nodes[id] = nodeView{}
		}
		for i := c.voters; i < len(v.servers); i++ {
			v.servers[i].Suffrage = raft.Nonvoter
		}
		if err := removable(v, c.id); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// What a write's error means decides whether money may be sent again.
func TestNotSent(t *testing.T) {
	for err, want := range map[error]bool{
		errNotLeader:                          true,
		peer.ErrNotSent:                       true,
		raft.ErrNotLeader:                     true,
		raft.ErrEnqueueTimeout:                true,
		raft.ErrLeadershipTransferInProgress:  true,
		raft.ErrLeadershipLost:                false,
		raft.ErrRaftShutdown:                  false,
		raft.ErrAbortedByRestore:              false,
		peer.ErrLost:                          false,
		peer.ErrRefused:                       false,
		errors.New("something else entirely"): false,
	} {
		if got := notSent(fmt.Errorf("propose: %w", err)); got != want {
			t.Errorf("notSent(%v) = %v, want %v", err, got, want)
		}
	}
}

func TestForwardedReplyRoundTrip(t *testing.T) {
	in := []ledger.Result{{Replayed: true, Entry: ledger.Entry{Key: "k", Amount: 5, Index: 3}, Account: ledger.NewAccount("a")}, {Err: ledger.ErrKeyReused, Account: ledger.NewAccount("b")}}
	b, err := encodeReply(in, 1<<40+7)
	if err != nil {
		t.Fatal(err)
	}
	out, index, err := decodeReply(b)
	if err != nil || index != 1<<40+7 || len(out) != 2 || out[0] != in[0] || !errors.Is(out[1].Err, ledger.ErrKeyReused) {
		t.Fatalf("%v %d %+v", err, index, out)
	}
	if _, _, err := decodeReply([]byte{replyNotSent}); !notSent(err) {
		t.Errorf("not sent came back as %v", err)
	}
	for _, b := range [][]byte{nil, {replyUnknown, 'x'}, {replyDone}, {77}} {
		if _, _, err := decodeReply(b); err == nil || notSent(err) {
			t.Errorf("%v came back as %v", b, err)
		}
	}
}

func TestMetaFitsGossip(t *testing.T) {
	long := string(make([]byte, maxAddr))
	m := meta{ID: string(make([]byte, ledger.MaxNodeID)), Boot: 1 << 62, HTTP: long, Peer: long, Version: string(make([]byte, 64)), Expect: 7, Formed: true, Cluster: string(make([]byte, ledger.MaxNodeID))}
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeMeta(b); err != nil || got != m {
		t.Fatalf("%v %+v", err, got)
	}
}
