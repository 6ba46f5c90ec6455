// Package traffic sends checks and entries of the ledger to a cluster, and records the
// answers.
package traffic

import (
	"slices"
	"sync"
	"time"

	"quorate/testing/chaos/model"
)

// What is kept of a run.
const (
	keptFailures = 5                      // of a node in a second
	keptGap      = 200 * time.Millisecond // shorter ones are not worth a line
	keptStall    = 50 * time.Millisecond
)

// Recorder collects the answers that clients get. Its methods may be called
// concurrently.
type Recorder struct {
	began time.Time

	mu      sync.Mutex
	history *model.History           // guarded by mu, but for its faults
	buckets map[string]*model.Bucket // guarded by mu
	last    map[string]time.Duration // the last answer of each node; guarded by mu
	denied  map[string]bool          // the bucket's last answer was a denial of the owner's; guarded by mu
}

// NewRecorder starts the history of a run of the named nodes.
func NewRecorder(nodes []string) *Recorder {
	r := &Recorder{
		began:   time.Now(),
		history: &model.History{Nodes: nodes, Seconds: map[string][]model.Second{}, Looked: map[string]map[int]uint64{}, Content: map[string]string{}},
		buckets: map[string]*model.Bucket{},
		last:    map[string]time.Duration{},
		denied:  map[string]bool{},
	}
	return r
}

// Now returns the time since the start.
func (r *Recorder) Now() time.Duration { return time.Since(r.began) }

// History returns the history. No method may be called after it.
func (r *Recorder) History() *model.History {
	r.history.Length = r.Now()
	return r.history
}

// AddFault records a fault.
func (r *Recorder) AddFault(f *model.Fault) { r.history.AddFault(f) }

// Faults returns the faults so far.
func (r *Recorder) Faults() []*model.Fault { return r.history.Faults() }

// Failed returns the checks without a decision so far that are kept.
func (r *Recorder) Failed() []model.Failure {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.history.Failures)
}

func (r *Recorder) addBucket(b *model.Bucket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Buckets = append(r.history.Buckets, b)
	r.buckets[b.Account] = b
}

// used returns what a bucket has admitted so far.
func (r *Recorder) used(account string) (n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.buckets[account].Admits {
		n += a.Units
	}
	return n
}

// OwnerOf returns the last node that was seen to decide on a bucket as its owner.
func (r *Recorder) OwnerOf(account string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buckets[account].OwnerAt(r.Now())
}

// second returns the numbers of a node for the second that contains an instant.
func (r *Recorder) second(node string, at time.Duration) *model.Second {
	list := r.history.Seconds[node]
	for len(list) <= int(at/time.Second) {
		list = append(list, model.Second{})
	}
	r.history.Seconds[node] = list
	return &list[at/time.Second]
}

// answer is the result of a check.
type answer struct {
	node, account   string
	asked, answered time.Duration
	allowed         bool
	degraded        bool
	by              string
	failed          string // no decision
}

func (r *Recorder) check(a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.second(a.node, a.answered)
	s.Checks++
	s.Sum += a.answered - a.asked
	s.Slowest = max(s.Slowest, a.answered-a.asked)
	if a.failed != "" {
		// A dead node has many failures, of which a few are kept; of other nodes all are.
		if s.Failed++; s.Failed > keptFailures {
			s.Beyond++
			return
		}
		r.history.Failures = append(r.history.Failures, model.Failure{Node: a.node, Asked: a.asked, Answered: a.answered, What: a.failed})
		return
	}
	r.closeGap(a.node, a.answered)
	if a.degraded {
		s.Degraded++
	}
	b := r.buckets[a.account]
	if b == nil {
		return
	}
	if a.allowed {
		b.Admits = append(b.Admits, model.Admission{Asked: a.asked, Answered: a.answered, Units: 1, By: a.by, Degraded: a.degraded})
	}
	if a.degraded {
		return
	}
	if n := len(b.Owners); n == 0 || b.Owners[n-1].Node != a.by {
		b.Owners = append(b.Owners, model.Owner{Node: a.by, From: a.answered})
	}
	switch {
	case a.allowed:
		r.denied[a.account] = false
	case r.denied[a.account]:
		b.Denials[len(b.Denials)-1] = a.answered
	default:
		r.denied[a.account] = true
		b.Denials = append(b.Denials, a.answered)
	}
}

// closeGap records an answer of a node, and the time since the one before.
func (r *Recorder) closeGap(node string, at time.Duration) {
	if last, ok := r.last[node]; ok && at-last >= keptGap {
		r.history.Gaps = append(r.history.Gaps, model.Gap{Node: node, From: last, To: at})
	}
	r.last[node] = max(at, r.last[node])
}

// Answered returns when a check at a node was last answered. If the node has no clients,
// it returns the latest time.
func (r *Recorder) Answered(node string) time.Duration {
	if !slices.Contains(r.history.Nodes, node) {
		return r.Now()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[node]
}

// forgetGaps starts the measurement of gaps anew, because clients were paused.
func (r *Recorder) forgetGaps() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.last)
}

func (r *Recorder) op(op model.Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Ops = append(r.history.Ops, op)
	if op.Type != model.Read && op.Outcome == model.Applied {
		r.second(op.Node, op.Answered).Writes++
	}
}

func (r *Recorder) stall(from, to time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Stalls = append(r.history.Stalls, model.Gap{From: from, To: to})
}

// View records what a node said of the cluster.
func (r *Recorder) View(leader string, term, epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.history.Views
	if n := len(v); n > 0 && v[n-1].Leader == leader && v[n-1].Term == term && v[n-1].Epoch == epoch {
		return
	}
	r.history.Views = append(v, model.View{At: r.Now(), Leader: leader, Term: term, Epoch: epoch})
}
