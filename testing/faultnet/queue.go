package faultnet

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// queue holds the packets that wait, and decides how long. It reads no clock and
// is for one goroutine at a time.
type queue struct {
	cfg     Config
	waiting packets
	put     uint64 // packets that ever waited
	links   map[ends]*link
	counts  Counts
}

type ends struct{ from, to int }

// link is one direction between two places.
type link struct {
	rng  *rand.Rand
	last time.Time // when the last packet of it is due
}

type packet struct {
	due   time.Time
	order uint64 // of those that are due at once, the first to come is the first to go
	to    int
	data  []byte // is not changed any more
}

func newQueue(cfg Config) *queue { return &queue{cfg: cfg, links: map[ends]*link{}} }

// add has a packet wait, or drops it.
func (q *queue) add(now time.Time, way ends, data []byte) {
	q.counts.Read++
	l := q.links[way]
	if l == nil {
		l = &link{rng: rand.New(rand.NewPCG(q.cfg.Seed, uint64(way.from)<<32|uint64(way.to)))}
		q.links[way] = l
	}
	// All is drawn for every packet, so that what one meets is not moved by what
	// the one before it met.
	lost, twice := l.rng.Float64() < q.cfg.Loss, l.rng.Float64() < q.cfg.Twice
	first, second := q.wait(l), q.wait(l)
	if lost {
		q.counts.Lost++
		return
	}
	q.push(now.Add(first), l, way.to, data)
	if twice {
		q.counts.Doubled++
		q.push(now.Add(second), l, way.to, data)
	}
}

func (q *queue) wait(l *link) time.Duration {
	return q.cfg.Low + time.Duration(l.rng.Int64N(int64(q.cfg.High-q.cfg.Low)+1))
}

func (q *queue) push(due time.Time, l *link, to int, data []byte) {
	if len(q.waiting) >= q.cfg.Queue {
		q.counts.Full++
		return
	}
	if q.cfg.InOrder && due.Before(l.last) {
		due = l.last
	}
	l.last = due
	q.put++
	heap.Push(&q.waiting, packet{due: due, order: q.put, to: to, data: data})
}

// next takes out the packet that is due. Where there is none it returns how long
// until one is, below 0 where none waits.
func (q *queue) next(now time.Time) (p packet, wait time.Duration, ok bool) {
	if len(q.waiting) == 0 {
		return packet{}, -1, false
	}
	if wait = q.waiting[0].due.Sub(now); wait > 0 {
		return packet{}, wait, false
	}
	return heap.Pop(&q.waiting).(packet), 0, true
}

// packets is a heap by time.
type packets []packet

func (p packets) Len() int      { return len(p) }
func (p packets) Swap(i, k int) { p[i], p[k] = p[k], p[i] }
func (p packets) Less(i, k int) bool {
	if c := p[i].due.Compare(p[k].due); c != 0 {
		return c < 0
	}
	return p[i].order < p[k].order
}

func (p *packets) Push(x any) { *p = append(*p, x.(packet)) }

func (p *packets) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	(*p)[last] = packet{} // its data is not held on to
	*p = (*p)[:last]
	return x
}
