package cluster

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// maxAhead is how far beyond the median of the voters' clocks the leader's own
// may move the time of the log.
const maxAhead = 5 * time.Second

// clock computes the time of the leader's commands. The log's time decides which keys are
// forgotten and which overrides expire, so one wrong clock must not move it: it follows
// the leader's monotonic clock, and the leader's wall clock moves it at most to the
// median of the voters' clocks plus maxAhead.
type clock struct {
	mu    sync.Mutex
	term  uint64    // of leadership; guarded by mu
	base  int64     // the log's time when it began, in milliseconds; guarded by mu
	since time.Time // when that was, monotonic; guarded by mu
}

// stamp returns the time for the next command. logTime is the log's, wall this
// node's clock, others those of the other voters that were ever heard, all in
// milliseconds since 1970.
func (c *clock) stamp(term uint64, logTime int64, now time.Time, wall int64, others []int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.term != term {
		c.term, c.base, c.since = term, logTime, now
	}
	var floor int64
	if c.base != 0 { // 0: no command was applied yet
		floor = c.base + now.Sub(c.since).Milliseconds()
	}
	all := append(others, wall)
	slices.Sort(all)
	// The lower one of an even number: the time moves late rather than early.
	median := all[(len(all)-1)/2]
	return max(floor, min(wall, median+maxAhead.Milliseconds()))
}

// logTime returns the time with which this node would stamp a command.
func (n *Node) logTime() int64 {
	at := n.cfg.Now()
	var others []int64
	if f := n.raft.GetConfiguration(); f.Error() == nil {
		for _, s := range f.Configuration().Servers {
			if p, ok := n.heardOf(string(s.ID)); ok && s.Suffrage == raft.Voter && p.Pong.Wall != 0 {
				others = append(others, p.Pong.Wall+(at-p.Heard).Milliseconds())
			}
		}
	}
	return n.clock.stamp(n.term(), n.cfg.FSM.State().Now(), time.Now(), n.cfg.Wall().UnixMilli(), others)
}
