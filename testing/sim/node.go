package sim

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"quorate/cluster/ownership"
	"quorate/fsm/ledger"
	"quorate/limiter"
	"quorate/limiter/bucket"
	"quorate/limiter/exchange"
)

// beats is the product's timing of what each node decides.
var beats = ownership.DefaultTiming()

// node is one process.
type node struct {
	w       *world
	index   int
	id      string
	member  bool // it has joined
	leaving bool

	alive  bool
	boot   uint64
	paused time.Duration // until when
	born   time.Duration // of this boot
	drift  float64       // how much faster its clock goes

	keeps                     bool // it takes no new snapshot
	snapshot, stored, applied int  // epochs: of the snapshot, on disk, in force
	had                       int  // on disk when this boot began

	ownership  *ownership.Node
	local      *limiter.Local
	lag        time.Duration  // of learning of maps by the log
	adoptsLate bool           // maps that it fetches lag too
	plan       *exchange.Plan // of what it exchanges with the others
}

// clock is the node's monotonic clock.
func (n *node) clock() time.Duration {
	return time.Duration(float64(n.w.now-n.born) * (1 + n.drift))
}

// start begins a boot: its log is as it was on disk, its buckets are empty.
func (n *node) start() {
	n.boot++
	n.alive, n.paused, n.born = true, 0, n.w.now
	n.applied, n.had = n.snapshot, n.stored
	n.ownership = ownership.New(ledger.Member{ID: n.id, Boot: n.boot}, beats)
	n.apply()
	n.plan = exchange.NewPlan(n.id)
	var err error
	n.local, err = limiter.NewLocal(limiter.Config{
		Node: n.id, Rules: rules{n.w}, Leases: leases{n}, Outbox: outbox{n}, Now: n.clock,
		Partitions:   Parts,
		Partition:    partition,
		Replication:  func() bucket.Replication { return bucket.Replication{Mode: n.w.Mode, Slack: 5, CutOff: n.w.CutOff} },
		FirstSource:  uint64(n.index)<<48 | n.boot<<32,
		Reservations: limiter.Reservations{TTL: cmp.Or(n.w.TTL, limiter.DefaultTTL), Most: limiter.DefaultMost, NewID: func(string) string { n.w.lastID++; return fmt.Sprint(n.w.lastID) }},
	})
	if err != nil {
		panic(err) // a mistake of the simulator
	}
	n.adopt(n.w.log[n.applied])
	n.after(time.Duration(n.w.rng.Int64N(int64(timing.Ping))), n.beat)
	n.after(time.Duration(n.w.rng.Int64N(int64(exchange.BeatEvery))), n.exchangeBeat)
}

func partition(account string) int { return int(account[0]-'a') % Parts }

func (n *node) ready() bool { return n.applied >= n.had }

// Ready is limiter.Membership, as Reachable and Relay are.
func (n *node) Ready() bool { return n.ready() && n.ownership.Routes().EverHadQuorum() }

// learn applies the log up to an epoch. Of several maps at once a node may adopt
// only the last.
func (n *node) learn(upto int) {
	n.stored = max(n.stored, upto)
	last := n.w.rng.IntN(2) == 0
	for n.applied < upto {
		n.applied++
		n.apply()
		if n.applied == upto || !last {
			n.adopt(n.w.log[n.applied])
		}
	}
	if n.w.rng.IntN(3) == 0 && !n.keeps {
		n.snapshot = n.applied
	}
}

// apply notes what the state machine has in force.
func (n *node) apply() { n.ownership.Applied(n.w.log[n.applied], n.ready()) }

// adopt takes over a map.
func (n *node) adopt(m *ledger.Map) {
	v := n.ownership.Adopt(m)
	if v == nil {
		return
	}
	to := &limiter.View{Epoch: v.Epoch, Nodes: v.Nodes, Parts: make([]limiter.Part, Parts), Boots: v.Boots}
	for p, part := range v.Parts {
		to.Parts[p] = limiter.Part(part)
	}
	n.local.Adopt(to)
	n.post(n.ownership.Renew(n.clock()))
	n.startTasks()
}

// beat is the ticker of pings and leases.
func (n *node) beat() {
	n.after(timing.Ping, n.beat)
	var others []string
	for _, to := range n.w.nodes {
		if to != n {
			others = append(others, to.id)
		}
	}
	n.ownership.SetPeers(others)
	n.post(n.ownership.Tick(n.clock()))
	if n.w.rng.IntN(20) == 0 {
		n.local.Sweep()
	}
}

// post sends pings.
func (n *node) post(out []ownership.Message) {
	for _, m := range out {
		n.ping(n.w.byID[m.To], m.Ping)
	}
}

func (n *node) ping(to *node, q ownership.Ping) {
	boot := n.boot
	n.w.send(n, to, func() {
		p := to.answer(q)
		n.w.send(to, n, func() {
			if n.boot == boot {
				n.pong(to, q, p)
			}
		})
	})
}

func (n *node) answer(q ownership.Ping) *ownership.Pong {
	p := &ownership.Pong{Leaving: n.leaving, AppliedIndex: uint64(n.applied), CommandVersion: ledger.NewestVersion(), Imported: n.local.ImportedSet()}
	n.ownership.Answer(&q, n.clock(), p)
	return p
}

func (n *node) pong(from *node, q ownership.Ping, p *ownership.Pong) {
	o := n.ownership.Pong(from.id, q, p, n.clock())
	if o.Fetch {
		n.fetch(from, p.Epoch, func() {})
	}
	if o.Retry {
		n.after(beats.Retry, func() {
			if q, ok := n.ownership.Retry(from.id, q, n.clock()); ok {
				n.ping(from, q)
			}
		})
	}
}

// fetch adopts the map of a node that goes by a later epoch than this one.
func (n *node) fetch(from *node, epoch uint64, then func()) {
	if n.ownership.Epoch() >= epoch {
		then()
		return
	}
	boot := n.boot
	n.w.send(n, from, func() {
		m := n.w.log[from.ownership.Epoch()]
		n.w.send(from, n, func() {
			if n.boot == boot {
				if !n.adoptsLate { // only the log comes late
					n.adopt(m)
					then()
					return
				}
				n.after(n.lag, func() { n.adopt(m) })
				n.after(0, then)
			}
		})
	})
}

// Reachable is limiter.Membership.
func (n *node) Reachable(id string) bool { return n.ownership.Routes().Reachable(id) }

// Relay is limiter.Membership.
func (n *node) Relay(to string) string { return n.ownership.Routes().Relay(to) }

// leases is the lease check of a node.
type leases struct{ n *node }

func (l leases) Valid(p int, now time.Duration) bool {
	return l.n.ownership.Held().Valid(p, now)
}

func (l leases) Majority() bool { return l.n.ownership.Routes().Majority() }

// outbox sends usage bounds.
type outbox struct{ n *node }

func (o outbox) Publish(s limiter.UsageBound) {
	n, to := o.n, o.n.w.byID[s.To]
	boot := n.boot
	n.w.send(n, to, func() {
		if !to.local.StoreBound(s) {
			return
		}
		to.w.send(to, n, func() {
			if n.boot == boot {
				n.acked(s)
			}
		})
	})
}

func (n *node) acked(s limiter.UsageBound) {
	n.local.Acked(s.ID, s.To, s.Seq)
}

// rules has every account ruled by its bucket's limit.
type rules struct{ w *world }

func (r rules) Rule(c *bucket.Check) bucket.Ruling {
	return bucket.Ruling{Tier: 1, Category: "llm", Limits: r.w.buckets[c.Account[0]-'a'].limits}
}
func (rules) Index() uint64                           { return 1 }
func (rules) WaitIndex(context.Context, uint64) error { return nil }
