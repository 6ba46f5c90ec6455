package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"quorate/cluster/peer"
	"quorate/fsm/ledger"
)

// Bounds of writing.
const (
	maxQueued   = 4096                    // writes of this node that wait
	maxGathered = 256                     // operations gathered into one entry of the log
	maxBytes    = 128 << 10               // likewise, of them together
	proposeFor  = 4500 * time.Millisecond // how long a write waits for a leader
	retryAfter  = 50 * time.Millisecond   // between two tries
)

var (
	errStarting = errors.New("the node is starting")
	errNoAnswer = errors.New("no answer in time")
)

// write is the operations of one caller until they are in an entry.
type write struct {
	ops  []ledger.Op
	size int // bytes, about
	done chan struct{}

	results []ledger.Result // valid after done
	index   uint64
	err     error
}

// Propose writes operations through the leader, wherever it is, and returns a
// result for each and the log index of the entry. Its error wraps
// ledger.ErrNoQuorum when they were not sent, ledger.ErrOutcomeUnknown when
// what became of them is not known, ledger.ErrOverloaded when too many wait.
func (n *Node) Propose(ctx context.Context, ops []ledger.Op) ([]ledger.Result, uint64, error) {
	if len(ops) == 0 || len(ops) > ledger.MaxOps {
		return nil, 0, fmt.Errorf("propose %d operations: %w", len(ops), ledger.ErrOverloaded)
	}
	w := &write{ops: ops, size: ledger.SizeOf(ops), done: make(chan struct{})}
	select {
	case n.writes <- w:
	default:
		return nil, 0, ledger.ErrOverloaded
	}
	select {
	case <-w.done:
		return w.results, w.index, w.err
	case <-ctx.Done(): // it is queued, or on its way
	case <-n.ctx.Done():
	}
	return nil, 0, ledger.ErrOutcomeUnknown
}

// writeLoop sends all waiting writes as one entry, and gathers the next entry during the
// sending: there is no timer, and there are few entries under load.
func (n *Node) writeLoop() {
	var next *write
	for {
		first := next
		next = nil
		if first == nil {
			select {
			case first = <-n.writes:
			case <-n.ctx.Done():
				return
			}
		}
		batch := []*write{first}
		total, size := len(first.ops), first.size
	gather:
		for total < maxGathered {
			select {
			case w := <-n.writes:
				if size += w.size; total+len(w.ops) > maxGathered || size > maxBytes {
					next = w
					break gather
				}
				batch, total = append(batch, w), total+len(w.ops)
			default:
				break gather
			}
		}
		n.send(batch)
	}
}

func (n *Node) send(batch []*write) {
	var ops []ledger.Op
	for _, w := range batch {
		ops = append(ops, w.ops...)
	}
	ctx, cancel := context.WithTimeout(n.ctx, proposeFor)
	results, index, err := n.commit(ctx, ops)
	cancel()
	if err == nil && len(results) != len(ops) {
		err = fmt.Errorf("%d results for %d operations: %w", len(results), len(ops), ledger.ErrOutcomeUnknown)
	}
	for _, w := range batch {
		if w.index, w.err = index, err; err == nil {
			w.results, results = results[:len(w.ops)], results[len(w.ops):]
		}
		close(w.done)
	}
}

// committed is the outcome of operations that are in the log.
type committed struct {
	results []ledger.Result
	index   uint64
}

// commit sends the operations to the current leader, until a leader has accepted them. It
// refuses those that the leader may be too old to read: the leader would refuse all others
// with them.
func (n *Node) commit(ctx context.Context, ops []ledger.Op) ([]ledger.Result, uint64, error) {
	if in := n.cfg.FSM.State().Version(); in < ledger.MessageVersion && ledger.VersionOf(ops) >= ledger.MessageVersion {
		return allowed(ctx, ops, n.cfg.FSM.Index(), ofVersion(ledger.MessageVersion-1), n.commit)
	}
	encoded, err := ledger.EncodeOps(ops)
	if err != nil {
		return nil, 0, err
	}
	var done committed
	timedOut := repeat(ctx, func() bool {
		done, err = onLeader(ctx, n, leaderCall[committed]{
			local:  func(ctx context.Context) (committed, error) { return asCommitted(n.apply(ctx, ops)) },
			method: methodWrite, arg: encoded,
			decode: func(b []byte) (committed, error) { return asCommitted(decodeReply(b)) },
			sent: func(leader string, giveUp context.CancelFunc) {
				n.forwarded.Store(&forwarded{leader: leader, giveUp: giveUp})
			},
		})
		n.forwarded.Store(nil)
		return err != nil && notSent(err) && !n.removed.Load()
	})
	switch {
	case err == nil:
		return done.results, done.index, nil
	case !notSent(err):
		return nil, 0, fmt.Errorf("%w: %w", ledger.ErrOutcomeUnknown, err)
	case timedOut == nil: // this node was removed: it will hear of no leader
		return nil, 0, fmt.Errorf("%w: %w", ledger.ErrNoQuorum, ErrRemoved)
	}
	return nil, 0, fmt.Errorf("%w: %w", ledger.ErrNoQuorum, err)
}

func asCommitted(results []ledger.Result, index uint64, err error) (committed, error) {
	return committed{results, index}, err
}

// forwarded is the write that is on its way to the leader, another node. There is at most one.
type forwarded struct {
	leader string
	giveUp context.CancelFunc
	others int // polls in a row at which another node led
}

// poll gives the write up if its leader has been replaced and does not answer: writes
// behind it must not wait for a leader whose disk hangs or that is cut off. A leader
// that has stepped down properly usually answers before the third poll.
func (f *forwarded) poll(leader string) {
	if leader == "" || leader == f.leader {
		f.others = 0
		return
	}
	if f.others++; f.others >= 3 {
		f.giveUp()
	}
}

// apply writes one entry of this node's log, which must be the leader's.
func (n *Node) apply(ctx context.Context, ops []ledger.Op) ([]ledger.Result, uint64, error) {
	state := n.cfg.FSM.State()
	inForce := state.Version()
	if ledger.VersionOf(ops) > inForce {
		return allowed(ctx, ops, n.cfg.FSM.Index(), ofVersion(inForce), n.apply)
	}
	if inForce < ledger.MessageVersion && slices.ContainsFunc(ops, refusedBy(state.Guard())) {
		return allowed(ctx, ops, n.cfg.FSM.Index(), state.Guard(), n.apply)
	}
	c := ledger.Command{Time: n.logTime(), Ops: ops}
	b, err := c.Encode()
	if err != nil {
		return nil, 0, err
	}
	f := n.raft.Apply(b, time.Second)
	if err := n.wait(ctx, f); err != nil {
		return nil, 0, err
	}
	switch out := f.Response().(type) {
	case []ledger.Result:
		return out, f.Index(), nil
	case error:
		return nil, 0, out
	default:
		return nil, 0, fmt.Errorf("state machine answered %T", out)
	}
}

// notSent reports whether an error means that the write is in no log and never
// will be. All others leave that open.
func notSent(err error) bool {
	for _, known := range []error{
		errNotLeader, peer.ErrNotSent, raft.ErrNotLeader, raft.ErrEnqueueTimeout, raft.ErrLeadershipTransferInProgress,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// The outcomes of a forwarded write.
const (
	replyDone byte = iota
	replyNotSent
	replyUnknown
)

// serveWrite applies operations that another node has forwarded. It never forwards them.
func (n *Node) serveWrite(ctx context.Context, arg []byte) ([]byte, error) {
	ops, err := ledger.DecodeOps(arg)
	if err != nil {
		return nil, err
	}
	results, index, err := n.apply(ctx, ops)
	switch {
	case err == nil:
		return encodeReply(results, index, n.cfg.FSM.State().Version())
	case notSent(err):
		return []byte{replyNotSent}, nil
	}
	return append([]byte{replyUnknown}, err.Error()...), nil
}

func encodeReply(results []ledger.Result, index, version uint64) ([]byte, error) {
	b, err := ledger.EncodeResults(results, version)
	if err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint64([]byte{replyDone}, index)
	return append(out, b...), nil
}

func decodeReply(b []byte) ([]ledger.Result, uint64, error) {
	switch {
	case len(b) > 9 && b[0] == replyDone:
		results, err := ledger.DecodeResults(b[9:])
		return results, binary.BigEndian.Uint64(b[1:9]), err
	case len(b) > 0 && b[0] == replyNotSent:
		return nil, 0, errNotLeader
	case len(b) > 0:
		return nil, 0, fmt.Errorf("leader: %s", b[1:])
	}
	return nil, 0, errors.New("leader: empty reply")
}

// asPeerError wraps the state machine's sentinel in that of the peer protocol.
func asPeerError(err error) error {
	if errors.Is(err, ledger.ErrBehind) {
		return fmt.Errorf("%w: %w", peer.ErrBehind, err)
	}
	return err
}
