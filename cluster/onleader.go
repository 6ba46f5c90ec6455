package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"quorate/fsm/ledger"
)

// errNotLeader is the error of a node that does not lead, or knows no leader.
var errNotLeader = errors.New("not the leader")

// leaderCall is a question that only the leader can answer.
type leaderCall[T any] struct {
	local  func(context.Context) (T, error) // answers it if this node leads
	method byte                             // asks another node that does
	arg    []byte
	decode func(answer []byte) (T, error)
	sent   func(leader string, giveUp context.CancelFunc) // if not nil, called when another node is asked
}

// callError is the error of a call to the leader. The outcome of the call is unknown
// unless the wrapped error tells it.
type callError struct {
	leader string
	err    error
}

func (e *callError) Error() string { return fmt.Sprintf("leader %s: %v", e.leader, e.err) }
func (e *callError) Unwrap() error { return e.err }

// onLeader asks the current leader once. Its error is errNotLeader if no
// leader is known, a *callError if the call failed, or that of local or decode.
func onLeader[T any](ctx context.Context, n *Node, q leaderCall[T]) (answer T, err error) {
	_, at := n.raft.LeaderWithID()
	leader := string(at)
	switch leader {
	case "":
		return answer, errNotLeader
	case n.cfg.NodeID:
		return q.local(ctx)
	}
	r := n.peers.get(leader)
	if r == nil {
		return answer, errNotLeader
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if q.sent != nil {
		q.sent(leader, cancel)
	}
	b, err := r.client.Call(ctx, q.method, q.arg)
	if err != nil {
		return answer, &callError{leader, err}
	}
	return q.decode(b)
}

// mayRepeat reports whether an order that does no harm when it is given twice
// should be given again: no leader has answered it.
func mayRepeat(err error) bool {
	var call *callError
	return errors.Is(err, errNotLeader) || errors.As(err, &call)
}

// repeat calls f until that returns false, with retryAfter between two calls. It
// returns the error of ctx if that ends first.
func repeat(ctx context.Context, f func() (again bool)) error {
	for f() {
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// order is a kind of order that is forwarded to the leader.
type order int

const (
	removal order = iota
	transfer
)

// wireErrors are the errors of an order and their codes in its answer, by order;
// 0: the order has no such error. An error that wraps several of them has the
// code of the first. The codes are on the wire: they never change.
var wireErrors = []struct {
	err  error
	code [2]byte
}{
	{ErrUnknownNode, [2]byte{removal: 1, transfer: 1}},
	{ErrLastVoter, [2]byte{removal: 2, transfer: 2}},
	{ErrQuorumLoss, [2]byte{removal: 3}},
	{ErrUnfit, [2]byte{transfer: 3}},
	{errNotLeader, [2]byte{removal: 4, transfer: 4}},
	{ErrUnderWay, [2]byte{removal: 5}},
	{ledger.ErrUpgrade, [2]byte{removal: 6}},
	{ledger.ErrNoQuorum, [2]byte{removal: 7}},
}

// encode returns the code of an error; ok is false if it has none.
func (o order) encode(err error) (code byte, ok bool) {
	if err == nil {
		return 0, true
	}
	for _, e := range wireErrors {
		if e.code[o] != 0 && errors.Is(err, e.err) {
			return e.code[o], true
		}
	}
	return 0, false
}

// decode returns the error of a code; ok is false if no error has that code.
func (o order) decode(code byte) (err error, ok bool) {
	if code == 0 {
		return nil, true
	}
	for _, e := range wireErrors {
		if e.code[o] == code {
			return e.err, true
		}
	}
	return nil, false
}
