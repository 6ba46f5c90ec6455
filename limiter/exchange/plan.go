package exchange

import (
	"maps"
	"slices"
	"time"

	"quorate/limiter"
)

const (
	// BeatEvery is how often fallback usage is sent and open tasks are begun.
	BeatEvery = 100 * time.Millisecond
	// usageTimeout is how long an answer to fallback usage may take.
	usageTimeout = time.Second
	// fetchTimeout is how long a new owner waits for each answer of one other node.
	fetchTimeout = 300 * time.Millisecond
	// confirmTimeout is how long a confirmation of usage bounds may take before their
	// message counts as lost. The owner has published again by then.
	confirmTimeout = time.Second
	// importTimeout is how long a receiver may take to answer whether it can import.
	importTimeout = 300 * time.Millisecond
	// handoffTimeout is how long a receiver's answer to a handoff may take.
	handoffTimeout = time.Second
	// handoffRetry is the pause before a receiver that refused is asked again.
	handoffRetry = 20 * time.Millisecond

	// maxUsages bounds the fallback usages that one node is sent at a beat. The others
	// are sent when some of these are absorbed.
	maxUsages = 1 << 16
	// handoffChunk is how many partitions an owner stops deciding on at once.
	handoffChunk = 256
)

// Action is what a step does.
type Action uint8

// The actions. The first five need an answer of the node To; the others change only
// the Local of this node.
const (
	// SendUsage sends Usages to To. To may be this node.
	SendUsage Action = iota
	// Fetch merges what To knows of Parts: Local.MergeBucket.
	Fetch
	// Copy sends To all of Local.Republish, for as many of Parts as the driver sends
	// at once.
	Copy
	// AskImport asks To for Local.CanImport of Parts.
	AskImport
	// Export sends Parts to To: Local.ExportPartition there is Local.ImportPartitions here.
	Export

	// FinishRecovery is Local.FinishRecovery of Parts.
	FinishRecovery
	// MarkCopied is Local.MarkCopied of Parts for To.
	MarkCopied
	// BeginExport is Local.BeginExport of Parts.
	BeginExport
	// DropReservations is Local.DropReservations of Parts.
	DropReservations
)

// Step is one thing to do. Its lists must not be changed.
type Step struct {
	Action  Action
	To      string
	Epoch   uint64 // of the map that asks for it
	Parts   []int
	Usages  []limiter.FallbackUsage
	After   time.Duration // the pause before the step
	Timeout time.Duration // for each answer
}

// Outcome is what became of a step.
type Outcome struct {
	// OK: of Copy, To has confirmed all; of AskImport, To can import; of BeginExport,
	// this node has stopped.
	OK bool
	// Count is how many of Parts, from the first, Copy has copied and Export has
	// handed off.
	Count int
	// Epoch is that of the map that is in force now.
	Epoch uint64
}

// Plan decides what one node exchanges with the others: which tasks begin at a beat,
// what follows on each step, how long an answer is waited for and when a step is tried
// again. A task of one kind with one node is under way once at a time.
//
// A Plan does nothing itself. Its driver carries out the steps, each as soon as it
// is returned and in order, and reports each with Done, from which more steps follow.
// The methods must not overlap.
type Plan struct {
	node     string
	busy     map[taskID]bool
	recovery recovery
	handoffs map[string]*handoff // under way, by receiver
	handed   map[int]uint64      // by partition: the epoch under which its receiver confirmed it
}

// taskID names a task: by the action of its first step and by the other node.
type taskID struct {
	action Action
	node   string
}

// recovery is the one recovery that is under way.
type recovery struct {
	epoch   uint64
	parts   []int
	fetches int // without an outcome yet
}

// handoff is one handoff that is under way.
type handoff struct{ left []int }

// NewPlan returns the plan of a node that has begun nothing.
func NewPlan(node string) *Plan {
	return &Plan{node: node, busy: map[taskID]bool{}, handoffs: map[string]*handoff{}, handed: map[int]uint64{}}
}

func (p *Plan) begin(t taskID) bool {
	if p.busy[t] {
		return false
	}
	p.busy[t] = true
	return true
}

// Beat returns the steps that tell all holders what this node has admitted as a
// fallback and the owners have not absorbed.
func (p *Plan) Beat(usages []limiter.FallbackUsage, holders func(account string) [3]string) []Step {
	byNode := map[string][]limiter.FallbackUsage{}
	for _, u := range usages {
		for _, node := range holders(u.Account) {
			if node != "" && (node == p.node || len(byNode[node]) < maxUsages) {
				byNode[node] = append(byNode[node], u)
			}
		}
	}
	var steps []Step
	for _, node := range slices.Sorted(maps.Keys(byNode)) {
		if p.begin(taskID{SendUsage, node}) {
			steps = append(steps, Step{Action: SendUsage, To: node, Usages: byNode[node], Timeout: usageTimeout})
		}
	}
	return steps
}

// Begin returns the first steps of the tasks that are not under way.
func (p *Plan) Begin(t limiter.Tasks) []Step {
	steps := p.recover(t)
	for _, node := range slices.Sorted(maps.Keys(t.Copy)) {
		if p.begin(taskID{Copy, node}) {
			steps = append(steps, copyStep(t.Epoch, node, t.Copy[node]))
		}
	}
	for _, node := range slices.Sorted(maps.Keys(t.Handoff)) {
		if _, ok := p.handoffs[node]; ok {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(t.Handoff[node]), func(part int) bool { return p.handed[part] == t.Epoch })
		if len(left) == 0 {
			continue // a map without the move is on its way
		}
		h := &handoff{left}
		p.handoffs[node] = h
		steps = append(steps, h.ask(t.Epoch, node, 0))
	}
	return steps
}

// recover begins the recovery of all partitions that need one: each other node that
// may know of some of them is asked.
func (p *Plan) recover(t limiter.Tasks) []Step {
	if len(t.Fetch) == 0 || !p.begin(taskID{action: Fetch}) {
		return nil
	}
	var steps []Step
	all := map[int]struct{}{}
	for _, node := range slices.Sorted(maps.Keys(t.Fetch)) {
		for _, part := range t.Fetch[node] {
			all[part] = struct{}{}
		}
		if node != "" {
			steps = append(steps, Step{Action: Fetch, To: node, Epoch: t.Epoch, Parts: t.Fetch[node], Timeout: fetchTimeout})
		}
	}
	p.recovery = recovery{t.Epoch, slices.Sorted(maps.Keys(all)), len(steps)}
	if len(steps) == 0 {
		return []Step{p.finishRecovery()}
	}
	return steps
}

func (p *Plan) finishRecovery() Step {
	return Step{Action: FinishRecovery, Epoch: p.recovery.epoch, Parts: p.recovery.parts}
}

func copyStep(epoch uint64, node string, parts []int) Step {
	return Step{Action: Copy, To: node, Epoch: epoch, Parts: parts, Timeout: confirmTimeout}
}

// ask returns the step that asks the receiver of a handoff for the next partitions.
// Until the receiver can decide this node does: a receiver that cannot be reached would
// leave the partitions without a node that decides.
func (h *handoff) ask(epoch uint64, node string, after time.Duration) Step {
	return Step{Action: AskImport, To: node, Epoch: epoch, Parts: h.left[:min(len(h.left), handoffChunk)], After: after, Timeout: importTimeout}
}

// Done notes what became of a step and returns the steps that follow.
func (p *Plan) Done(s Step, o Outcome) []Step {
	switch s.Action {
	case SendUsage:
		p.Cancel(s) // what was not absorbed is sent again at a later beat
	case Fetch:
		// A node that has not answered cannot be waited for.
		if p.recovery.fetches--; p.recovery.fetches == 0 {
			return []Step{p.finishRecovery()}
		}
	case FinishRecovery:
		p.Cancel(s)
	case Copy:
		return p.copied(s, o)
	case AskImport, BeginExport, Export:
		return p.handOff(s, o)
	}
	return nil
}

// copied goes on with a copy: a partition is whole when its successor has confirmed
// all of it. What is not confirmed is tried again at a later beat.
func (p *Plan) copied(s Step, o Outcome) (steps []Step) {
	if !o.OK {
		p.Cancel(s)
		return nil
	}
	steps = append(steps, Step{Action: MarkCopied, To: s.To, Epoch: s.Epoch, Parts: s.Parts[:o.Count]})
	if left := s.Parts[o.Count:]; len(left) > 0 && o.Epoch == s.Epoch {
		return append(steps, copyStep(s.Epoch, s.To, left))
	}
	p.Cancel(s)
	return steps
}

// handOff goes on with a handoff until the receiver has all partitions or the map is
// another.
func (p *Plan) handOff(s Step, o Outcome) (steps []Step) {
	h, after := p.handoffs[s.To], handoffRetry
	switch {
	case s.Action == AskImport && o.OK:
		return []Step{{Action: BeginExport, To: s.To, Epoch: s.Epoch, Parts: s.Parts}}
	case s.Action == BeginExport && o.OK:
		return []Step{{Action: Export, To: s.To, Epoch: s.Epoch, Parts: s.Parts, Timeout: handoffTimeout}}
	case s.Action == Export && o.Count > 0:
		done := s.Parts[:o.Count]
		for _, part := range done {
			p.handed[part] = s.Epoch
		}
		h.left, after = h.left[o.Count:], 0
		steps = append(steps, Step{Action: DropReservations, Parts: done})
	}
	if len(h.left) == 0 || o.Epoch != s.Epoch {
		p.Cancel(s)
		return steps
	}
	return append(steps, h.ask(s.Epoch, s.To, after))
}

// Cancel ends the task of a step that is not carried out.
func (p *Plan) Cancel(s Step) {
	switch s.Action {
	case Fetch, FinishRecovery:
		delete(p.busy, taskID{action: Fetch})
	case AskImport, BeginExport, Export:
		delete(p.handoffs, s.To)
	default:
		delete(p.busy, taskID{s.Action, s.To})
	}
}
