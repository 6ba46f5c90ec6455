// Package model holds the history of a run, and the model of an account that answers
// of the ledger are checked against. It knows nothing of how a run is made.
//
// All times are since the start of the run, by the monotonic clock of the clients'
// process.
package model

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Kind is the class of a fault, which decides what it may cost.
type Kind string

// The kinds. Each has a row in validate's table of bounds.
const (
	Kill       Kind = "kill"        // one node, at once
	KillTwo    Kind = "kill-two"    // an owner and a successor together
	KillAll    Kind = "kill-all"    // every node
	Freeze     Kind = "freeze"      // a node stops and resumes
	Starve     Kind = "starve"      // a node gets a tenth of a processor
	Move       Kind = "move"        // planned: join, drain, restart in order
	CutOff     Kind = "cut-off"     // nodes without a majority
	OneWay     Kind = "one-way"     // a node that only receives, or only sends
	OneLink    Kind = "one-link"    // two nodes without a link
	Flapping   Kind = "flapping"    // a node cut off again and again
	NoMajority Kind = "no-majority" // every node alone
	Loss       Kind = "loss"        // messages lost or late
	Disk       Kind = "disk"        // a slow disk: the ledger waits, checks do not
	DiskStop   Kind = "disk-stop"   // a disk that makes a node end or stop
	Clock      Kind = "clock"       // a wall clock that is wrong
	None       Kind = "none"        // nothing: the traffic without faults
)

// Fault is one fault of a run.
type Fault struct {
	Name  string
	Kind  Kind
	Nodes []string // that it affects
	Hurt  []string // dead or frozen nodes, whose clients may wait
	Start time.Duration
	Heal  time.Duration // when its cause was removed
	Over  time.Duration // when the cluster was whole again
	Note  string        // for the report
	Fresh []string      // buckets that were being used up when it began
	Spent []string      // buckets that were used up before

	// From Struck until Mending the fault was complete: links are cut and restored one by
	// one. Zero: from Start, until Heal.
	Struck, Mending time.Duration

	// HurtUntil is when clients of the nodes in Hurt got answers again.
	HurtUntil time.Duration

	// Unsettled is why the cluster did not become whole in time, else empty.
	Unsettled string
}

// Admission is one check that was allowed. It was decided between its request and its
// answer.
type Admission struct {
	Asked, Answered time.Duration
	Units           int64
	By              string // the node that decided
	Degraded        bool   // not as owner
}

// Bucket is one limit of one account, and its admissions.
type Bucket struct {
	Account string
	Burst   float64       // of a sliding window: its limit
	Rate    float64       // units a second
	Window  time.Duration // length of a sliding window; zero: a token bucket
	Admits  []Admission
	Denials []time.Duration // the last answer of each run of denials by the owner
	Owners  []Owner         // the nodes that decided as owner, in order
}

// Owner is a node and when it was first seen to decide as owner.
type Owner struct {
	Node string
	From time.Duration
}

// OwnerAt returns the last node that was seen to own the bucket before an instant, empty
// if there was none.
func (b *Bucket) OwnerAt(at time.Duration) (node string) {
	for _, o := range b.Owners {
		if o.From > at {
			break
		}
		node = o.Node
	}
	return node
}

// Failure is a check that got no decision.
type Failure struct {
	Node            string // that was asked
	Asked, Answered time.Duration
	What            string
}

// Gap is a time in which a node answered no check although clients had asked.
type Gap struct {
	Node     string
	From, To time.Duration
}

// Second is what the clients of a node got in one second.
type Second struct {
	Checks, Failed, Degraded int
	Beyond                   int // of those that failed: not in History.Failures
	Slowest                  time.Duration
	Sum                      time.Duration // of all checks' times
	Writes                   int           // acknowledged entries, by the node that answered
}

// View is the state of the cluster at an instant, as its nodes reported it.
type View struct {
	At     time.Duration
	Leader string // empty: no node knows one
	Term   uint64
	Epoch  uint64
}

// Resources lists the resources of a node's process.
type Resources struct {
	Node       string
	Goroutines float64
	Files      float64
	Heap       float64 // bytes in use
	Resident   float64 // bytes
}

// History is the record of a run. Its fields may be read after the traffic has stopped,
// by one goroutine.
type History struct {
	Nodes    []string
	Buckets  []*Bucket
	Failures []Failure
	Gaps     []Gap
	Seconds  map[string][]Second // by node
	Views    []View
	Stalls   []Gap // of the harness itself, in which no client ran
	Ops      []Op
	Final    []FinalAccount
	Looked   map[string]map[int]uint64 // by account and number of the key: the index it was applied at
	Content  map[string]string         // by node: the hash of its state, at one index
	Idle     []Resources               // before the first fault, without load
	End      []Resources               // after the last one, without load
	Length   time.Duration
	Audited  bool // Final, Looked and Content are complete

	mu     sync.Mutex
	faults []*Fault // guarded by mu
}

// AddFault records a fault. It may be called while traffic is recorded.
func (h *History) AddFault(f *Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, f)
}

// Faults returns the faults so far.
func (h *History) Faults() []*Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.faults)
}

// During reports whether a fault meets an interval.
func (f *Fault) During(from, to time.Duration) bool {
	return f.Start <= to && (f.Over == 0 || f.Over >= from)
}

// Recovery is how long the cluster was not whole after the cause of a fault was removed.
// The time until the cause of another fault was removed does not count, unless the
// cluster was whole before that.
func (f *Fault) Recovery(all []*Fault) (took time.Duration) {
	others := slices.SortedFunc(slices.Values(all), func(a, b *Fault) int { return cmp.Compare(a.Start, b.Start) })
	at := f.Heal
	for _, g := range others {
		if g == f || g.Heal <= at || g.Heal > f.Over {
			continue
		}
		took += max(0, g.Start-at)
		at = g.Heal
	}
	return took + max(0, f.Over-at)
}

// Hurts reports whether clients of a node may have to wait for a fault in an interval.
func (f *Fault) Hurts(node string, from, to time.Duration) bool {
	return slices.Contains(f.Hurt, node) && f.Start <= to && (f.HurtUntil == 0 || f.HurtUntil >= from)
}

// Bucket returns the bucket of an account, nil if there is none.
func (h *History) Bucket(account string) *Bucket {
	for _, b := range h.Buckets {
		if b.Account == account {
			return b
		}
	}
	return nil
}
