package sim

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"quorate/cluster/lease"
	"quorate/fsm/ledger"
	"quorate/limiter"
	"quorate/limiter/bucket"
)

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

	m             *ledger.Map // adopted last
	local         *limiter.Local
	holder        *lease.Holder
	held          *lease.Held
	heard         []health        // by node
	reached       []time.Duration // when a round trip with the node began last
	missed        []int           // beats since a node answered: a freeze of our own adds none
	majorityBeats int             // beats in a row in which a majority of the grantors answered
	reaches       [][]bool        // by node: whom it has reached, by its own word
	lag           time.Duration   // of learning of maps
	hurried       uint64          // the epoch that it asked about as soon as it heard of it
	busy          map[string]bool // tasks under way
}

// health is what a node last heard of another.
type health struct {
	boot    uint64
	ready   bool
	leaving bool
	epoch   uint64
	adopted uint64
	at      time.Duration
	holds   []bool
}

// clock is the node's monotonic clock.
func (n *node) clock() time.Duration {
	return time.Duration(float64(n.w.now-n.born) * (1 + n.drift))
}

// start begins a life: its log is as it was on disk, its buckets are empty.
func (n *node) start() {
	n.boot++
	n.alive, n.paused, n.born = true, 0, n.w.now
	n.applied, n.had = n.snapshot, n.stored
	n.holder = lease.NewHolder()
	n.held = n.holder.Held()
	size := cap(n.w.nodes)
	n.heard, n.reached, n.reaches = make([]health, size), make([]time.Duration, size), make([][]bool, size)
	n.missed, n.majorityBeats = make([]int, size), 0
	for i := range n.reached {
		n.reached[i] = -time.Hour
	}
	n.busy, n.m = map[string]bool{}, n.w.log[0]
	var err error
	n.local, err = limiter.NewLocal(limiter.Config{
		Node: n.id, Rules: rules{n.w}, Leases: leases{n}, Outbox: outbox{n}, Now: n.clock,
		Partitions:   Parts,
		Partition:    partition,
		Replication:  func() bucket.Replication { return bucket.Replication{Mode: n.w.Mode, Slack: 5, CutOff: n.w.CutOff} },
		FirstSource:  uint64(n.index)<<48 | n.boot<<32,
		Reservations: limiter.Reservations{TTL: time.Minute, Most: 1000, NewID: func() string { n.w.reservations++; return fmt.Sprint(n.w.reservations) }},
	})
	if err != nil {
		panic(err) // a mistake of the simulator
	}
	n.adopt(n.w.log[n.applied])
	n.after(time.Duration(n.w.rng.Int64N(int64(timing.Ping))), n.beat)
}

func partition(account string) int { return int(account[0]-'a') % Parts }

func (n *node) ready() bool { return n.w.Without == Restart || n.applied >= n.had }

// learn applies the log up to an epoch. Of several maps at once a node may adopt
// only the last.
func (n *node) learn(upto int) {
	n.stored = max(n.stored, upto)
	last := n.w.rng.IntN(2) == 0
	for n.applied < upto {
		n.applied++
		if n.applied == upto || !last {
			n.adopt(n.w.log[n.applied])
		}
	}
	if n.w.rng.IntN(3) == 0 && !n.keeps {
		n.snapshot = n.applied
	}
}

// latest is the last map that a node knows of.
func (n *node) latest() *ledger.Map {
	if t := n.w.log[n.applied]; t.Epoch > n.m.Epoch {
		return t
	}
	return n.m
}

// adopt takes over the map in force.
func (n *node) adopt(t *ledger.Map) {
	if t.Epoch == 0 || !n.ready() {
		return
	}
	v := &limiter.View{Epoch: t.Epoch, Nodes: int64(len(t.Members)), Parts: make([]limiter.Part, Parts), Boots: map[string]uint64{}}
	for _, m := range t.Members {
		v.Boots[m.ID] = m.Boot
	}
	owned := make([]bool, Parts)
	for p, place := range t.Places {
		part := &v.Parts[p]
		part.Moving = p < len(t.Moving) && t.Moving[p]
		for role, at := range place {
			if int(at) >= len(t.Members) {
				continue
			}
			m := t.Members[at]
			if m.ID == n.id && m.Boot != n.boot && n.w.Without != Boot {
				continue // an earlier boot
			}
			part.Holders[role] = m.ID
			if m.ID == n.id && (role == 0 || role == 1 && part.Moving) {
				owned[p] = true
			}
		}
	}
	if !n.holder.Adopt(terms(t), owned) {
		return
	}
	n.held = n.holder.Held()
	n.m = t
	n.local.Adopt(v)
	n.renew()
	n.startTasks()
}

// terms are a map's terms of leases.
func terms(m *ledger.Map) lease.Terms {
	return lease.Terms{Epoch: m.Epoch, Grantors: m.Grantors, Retiring: m.Retiring, Length: m.Lease, Drift: m.Drift}
}

// holding lists the partitions that this node holds by a handoff.
func (n *node) holding() []bool {
	out := make([]bool, Parts)
	for p := range out {
		out[p] = n.local.Imported(p)
	}
	return out
}

// ask asks all grantors for a lease.
func (n *node) renew() {
	for _, id := range n.holder.Ask() {
		to := n.w.byID[id]
		q := lease.Request{Life: lease.Life{ID: n.id, Boot: n.boot}, Epoch: n.holder.Epoch(), Sent: n.clock()}
		life := n.boot
		n.w.send(n, to, func() {
			t := to.latest()
			boot := uint64(0)
			for _, m := range t.Members {
				if m.ID == q.ID {
					boot = m.Boot
				}
			}
			if n.w.Without == Boot && boot != 0 {
				boot = q.Boot
			}
			if !lease.Grant(q, t.Epoch, boot, to.ready()) {
				// A refusal carries the map: the owner may hear of it here first.
				if t.Epoch > q.Epoch && to.ready() {
					to.w.send(to, n, func() {
						if n.boot == life {
							n.after(n.lag, func() { n.adopt(to.latest()) }) // as it is when it is fetched
						}
					})
				}
				return
			}
			to.w.send(to, n, func() {
				if n.boot == life {
					n.holder.Granted(to.id, q.Epoch, q.Sent)
					n.held = n.holder.Held()
				}
			})
		})
	}
}

// beat is the ticker: pings, leases, fallback usage, and tasks that are still due.
func (n *node) beat() {
	n.after(timing.Ping, n.beat)
	if n.ready() {
		n.renew()
	}
	if n.majority(timing.LostBeats()) {
		n.majorityBeats++
	} else {
		n.majorityBeats = 0
	}
	for _, to := range n.w.nodes {
		if to != n {
			n.ping(to)
		}
	}
	n.sendUsages()
	n.startTasks()
	if n.w.rng.IntN(20) == 0 {
		n.local.Sweep()
	}
}

// majority reports whether a majority of the grantors has answered one of the
// last pings.
func (n *node) majority(beats int) bool {
	have := 0
	for _, id := range n.m.Grantors {
		if id == n.id || n.missed[n.w.byID[id].index] < beats {
			have++
		}
	}
	return have >= len(n.m.Grantors)/2+1
}

func (n *node) ping(to *node) {
	sent, life := n.w.now, n.boot
	n.missed[to.index]++
	n.w.send(n, to, func() {
		h := health{boot: to.boot, ready: to.ready(), leaving: to.leaving, epoch: uint64(to.applied), adopted: to.m.Epoch, holds: to.holding()}
		reaches := make([]bool, len(to.reached))
		for i, at := range to.reached {
			reaches[i] = n.w.now-at < 2*timing.Ping
		}
		n.w.send(to, n, func() {
			if n.boot != life {
				return
			}
			h.at, n.missed[to.index] = sent, 0
			n.heard[to.index], n.reached[to.index], n.reaches[to.index] = h, max(sent, n.reached[to.index]), reaches
		})
	})
}

// Reachable and Relay are what the limiter asks of other nodes.
func (n *node) Reachable(id string) bool {
	return n.missed[n.w.byID[id].index] < 4
}

func (n *node) Relay(to string) string {
	want := n.w.byID[to]
	for _, m := range n.w.nodes {
		if m == n || m == want || !n.Reachable(m.id) {
			continue
		}
		if r := n.reaches[m.index]; len(r) > 0 && r[want.index] {
			return m.id
		}
	}
	return ""
}

// sendUsages tells what this node has admitted as a fallback node to all who should know.
func (n *node) sendUsages() {
	if n.w.Without == Counters {
		return
	}
	t := n.w.log[n.applied]
	all := n.local.FallbackUsages()
	slices.SortFunc(all, func(a, b limiter.FallbackUsage) int { // or a seed would not replay its run
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Source, b.Source))
	})
	for _, c := range all {
		p := partition(c.Account)
		if p >= len(t.Places) {
			continue
		}
		for _, at := range t.Places[p] {
			if int(at) >= len(t.Members) {
				continue
			}
			to := n.w.byID[t.Members[at].ID]
			life := n.boot
			n.w.send(n, to, func() {
				done := to.local.ReceiveUsage(c)
				if done == 0 {
					return
				}
				n.w.send(to, n, func() {
					if n.boot == life {
						n.local.MarkAbsorbed(c, done)
					}
				})
			})
		}
	}
}

// leases is the lease check of a node.
type leases struct{ n *node }

func (l leases) Valid(p int, now time.Duration) bool {
	return l.n.w.Without == Lease || l.n.held.Valid(p, now)
}
func (l leases) Majority() bool {
	have, of := 0, l.n.w.voters()
	for _, v := range of {
		if v == l.n || l.n.missed[v.index] < cutOff {
			have++
		}
	}
	return have >= len(of)/2+1
}

// outbox sends usage bounds.
type outbox struct{ n *node }

func (o outbox) Publish(s limiter.UsageBound) {
	n, to := o.n, o.n.w.byID[s.To]
	if n.w.Without == Ack {
		n.after(0, func() { n.acked(s) })
	}
	life := n.boot
	n.w.send(n, to, func() {
		if !to.local.StoreBound(s) {
			return
		}
		to.w.send(to, n, func() {
			if n.boot == life {
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
