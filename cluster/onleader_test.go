package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"quorate/cluster/peer"
	"quorate/fsm/ledger"
)

func TestAnErrorOfTwoHasTheCodeOfTheFirst(t *testing.T) {
	for range 20 {
		if code, ok := removal.encode(fmt.Errorf("%w: %w", ledger.ErrNoQuorum, ErrQuorumLoss)); code != 3 || !ok {
			t.Fatal(code, ok)
		}
	}
}

// A write is sent again only if the error of the call says that it was not sent;
// an order to remove a node or to transfer leadership always.
func TestErrorsOfCallsToTheLeader(t *testing.T) {
	for _, c := range []struct {
		err            error
		notSent, again bool
	}{
		{errNotLeader, true, true},
		{&callError{"n2", peer.ErrNotSent}, true, true},
		{&callError{"n2", peer.ErrLost}, false, true},
		{&callError{"n2", context.DeadlineExceeded}, false, true},
		{ErrLastVoter, false, false},
		{errors.New("something else"), false, false},
	} {
		if got := notSent(c.err); got != c.notSent {
			t.Errorf("notSent(%v) = %v", c.err, got)
		}
		if got := mayRepeat(c.err); got != c.again {
			t.Errorf("mayRepeat(%v) = %v", c.err, got)
		}
	}
}
