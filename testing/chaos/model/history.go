// Package model holds what is recorded of a run, and the account that each
// answer of the ledger is held against. It knows nothing of how a run is made.
//
// All times are since the run's start, by the monotonic clock of the one process
// that asks.
package model

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Kind is what a fault does, as far as it matters for what it may cost.
type Kind string

// The kinds. Each has a row in validate's table of bounds.
const (
	Kill       Kind = "kill"        // one node, at once
	KillTwo    Kind = "kill-two"    // an owner and a successor together
	KillAll    Kind = "kill-all"    // every node
	Freeze     Kind = "freeze"      // a node stands still and goes on
	Starve     Kind = "starve"      // a node gets a tenth of a processor
	Move       Kind = "move"        // planned: join, drain, restart in order
	CutOff     Kind = "cut-off"     // nodes without a majority
	OneWay     Kind = "one-way"     // a node that only hears, or is only heard
	OneLink    Kind = "one-link"    // two nodes that do not hear each other
	Flapping   Kind = "flapping"    // a node cut off again and again
	NoMajority Kind = "no-majority" // everybody alone
	Loss       Kind = "loss"        // messages lost or late
	Disk       Kind = "disk"        // a slow disk: the ledger waits, checks do not
	DiskStop   Kind = "disk-stop"   // a disk that makes a node end or stand still
	Clock      Kind = "clock"       // a wall clock that is wrong
	None       Kind = "none"        // nothing: what the traffic does without faults
)

// Fault is one fault of a run.
type Fault struct {
	Name  string
	Kind  Kind
	Nodes []string // that it strikes
	Hurt  []string // whose own clients it may keep waiting: dead or frozen nodes
	Start time.Duration
	Heal  time.Duration // when its cause was gone
	Over  time.Duration // when the cluster was whole again
	Note  string        // a person reads it
	Fresh []string      // buckets that were being used up when it struck
	Spent []string      // buckets that were used up before

	// Between Struck and Mending it was in force in full: links are cut and mended
	// one by one. Zero: from Start, until Heal.
	Struck, Mending time.Duration

	// HurtUntil is when clients of the nodes hurt were served again.
	HurtUntil time.Duration

	// Unsettled is why the cluster was not whole in the time it had, else empty.
	Unsettled string
}

// Admission is one check that was allowed: it was decided somewhere between its
// request and its answer.
type Admission struct {
	Asked, Answered time.Duration
	Units           int64
	By              string // who decided
	Degraded        bool   // not as owner
}

// Bucket is one limit of one account and what it admitted.
type Bucket struct {
	Account string
	Burst   float64       // of a sliding one its limit
	Rate    float64       // units a second
	Window  time.Duration // in any of which a sliding one admits its limit; zero: it does not slide
	Admits  []Admission
	Denials []time.Duration // the last answer of each run of denials by the owner
	Owners  []Owner         // by who decided as owner, in time
}

// Owner is from when on somebody was seen to decide as owner.
type Owner struct {
	Node string
	From time.Duration
}

// OwnerAt returns who was last seen to own the bucket before an instant, empty
// when nobody was.
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

// Gap is a time in which no check at a node was answered though there were
// clients that asked.
type Gap struct {
	Node     string
	From, To time.Duration
}

// Second is what a node's clients saw in one second.
type Second struct {
	Checks, Failed, Degraded int
	Beyond                   int // of those that failed: not among the failures
	Slowest                  time.Duration
	Sum                      time.Duration // of all checks' times
	Writes                   int           // acknowledged entries, by the node that answered
}

// View is what the nodes said of the cluster at an instant.
type View struct {
	At     time.Duration
	Leader string // empty: nobody knows one
	Term   uint64
	Epoch  uint64
}

// Resources are what a node's process holds.
type Resources struct {
	Node       string
	Goroutines float64
	Files      float64
	Heap       float64 // bytes in use
	Resident   float64 // bytes
}

// History is all that was recorded of a run. Its fields are for one goroutine
// once the traffic has stopped.
type History struct {
	Nodes    []string
	Buckets  []*Bucket
	Failures []Failure
	Gaps     []Gap
	Seconds  map[string][]Second // by node
	Views    []View
	Stalls   []Gap // of the harness itself: then nobody asked
	Ops      []Op
	Final    []FinalAccount
	Looked   map[string]map[int]uint64 // by account and number of the key: the index it was applied at
	Content  map[string]string         // by node: what its state holds, at one index
	Idle     []Resources               // before the first fault, without load
	End      []Resources               // after the last one, without load
	Length   time.Duration
	Audited  bool // Final, Looked and Content are all there is

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

// During reports whether a fault lasts at some instant of an interval.
func (f *Fault) During(from, to time.Duration) bool {
	return f.Start <= to && (f.Over == 0 || f.Over >= from)
}

// Recovery is how long the cluster was not whole after a fault's cause was gone. Until
// the cause of another was gone too it does not count, unless the cluster was whole
// before that.
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

// Hurts reports whether a fault may keep a node's clients waiting at some instant
// of an interval.
func (f *Fault) Hurts(node string, from, to time.Duration) bool {
	return slices.Contains(f.Hurt, node) && f.Start <= to && (f.HurtUntil == 0 || f.HurtUntil >= from)
}

// Bucket returns an account's bucket, nil where there is none.
func (h *History) Bucket(account string) *Bucket {
	for _, b := range h.Buckets {
		if b.Account == account {
			return b
		}
	}
	return nil
}
