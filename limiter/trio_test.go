package limiter

import (
	"strconv"
	"testing"
	"time"

	"quorate/limiter/bucket"
)

// trio is nodes n1, n2 and n3 with one partition and one clock, each with its own
// zero. What they say to each other waits until a test delivers it.
type trio struct {
	now   time.Duration
	rule  bucket.Replication
	cut   bool // no majority is reached
	epoch uint64
	nodes [3]*Local
	sent  []UsageBound
}

func (g *trio) Valid(int, time.Duration) bool { return true }
func (g *trio) Majority() bool                { return !g.cut }
func (g *trio) Publish(s UsageBound)          { g.sent = append(g.sent, s) }

// newTrio returns nodes of which n1 owns the partition.
func newTrio(limits ...bucket.Scoped) *trio {
	g := &trio{now: time.Hour, rule: bucket.Replication{Slack: 5}}
	for i := range g.nodes {
		rules := &fixed{bucket.Ruling{Tier: 1, Category: "llm", Limits: limits}}
		zero := time.Duration(i) * 1234567 * time.Microsecond
		g.nodes[i] = must(NewLocal(Config{
			Node: name(i), Rules: rules, Now: func() time.Duration { return g.now - zero }, Leases: g, Outbox: g, Partitions: 1, Partition: func(string) int { return 0 },
			Replication: func() bucket.Replication { return g.rule }, FirstSource: uint64(i+1) << 32,
		}))
	}
	g.adopt(holders("n1", "n2", "n3"))
	g.nodes[0].FinishRecovery(1, []int{0})
	return g
}

func name(i int) string { return "n" + strconv.Itoa(i+1) }

// adopt makes all nodes adopt the next map.
func (g *trio) adopt(p Part) {
	g.epoch++
	for _, l := range g.nodes {
		l.Adopt(&View{Epoch: g.epoch, Nodes: 3, Parts: []Part{p}})
	}
}

// deliver has a usage bound arrive, and its acknowledgement too.
func (g *trio) deliver(s UsageBound, acked bool) {
	if g.nodes[s.To[1]-'1'].StoreBound(s) && acked {
		g.nodes[0].Acked(s.ID, s.To, s.Seq)
	}
}

// settled delivers all that is under way.
func (g *trio) settled() {
	for len(g.sent) > 0 {
		s := g.sent[0]
		g.sent = g.sent[1:]
		g.deliver(s, true)
	}
}

// try makes a node decide as the owner and reports whether it has admitted.
func (g *trio) try(t testing.TB, i int, c bucket.Check) (ok bool, v Outcome) {
	t.Helper()
	d := bucket.Decision{}
	l := g.nodes[i]
	r, open, err := l.open(t.Context(), &c, &d)
	if err != nil || !open {
		t.Fatal(err)
	}
	v, _ = l.Try(&c, &r, &d)
	return v == Decided && d.Reason == bucket.OK, v
}

// must makes a node admit as the owner.
func (g *trio) must(t testing.TB, i int, c bucket.Check) {
	t.Helper()
	if ok, v := g.try(t, i, c); !ok && v == Unreplicated {
		g.settled()
		if ok, v = g.try(t, i, c); !ok {
			t.Fatalf("%s has not admitted %+v: outcome %d", name(i), c, v)
		}
	} else if !ok {
		t.Fatalf("%s has not admitted %+v: outcome %d", name(i), c, v)
	}
	g.settled()
}

// left returns what is left of the first limit by a node's word as owner.
func (g *trio) left(t testing.TB, i int) int64 {
	t.Helper()
	c, d := bucket.Check{Account: "a", DryRun: true}, bucket.Decision{}
	r, _, _ := g.nodes[i].open(t.Context(), &c, &d)
	if v, _ := g.nodes[i].Try(&c, &r, &d); v != Decided {
		t.Fatalf("%s does not decide: %d", name(i), v)
	}
	return d.Limits[0].Remaining
}

// takeOver has n2 take over from n1, who is dead, by what n3 knows.
func (g *trio) takeOver() {
	g.adopt(holders("n2", "n3", ""))
	for _, k := range g.nodes[2].ExportBuckets(0) {
		g.nodes[1].MergeBucket(k)
	}
	g.nodes[1].FinishRecovery(g.epoch, []int{0})
}

// move makes n1 hand the partition over to n2.
func (g *trio) move() bool {
	p := holders("n1", "n2", "n3")
	p.Moving = true
	g.adopt(p)
	return g.nodes[1].ImportPartitions(g.epoch, PartitionSnapshot{Buckets: g.nodes[0].ExportBuckets(0)}) == 1
}
