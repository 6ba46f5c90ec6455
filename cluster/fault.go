package cluster

import (
	"errors"
	"sync"
)

// The errors that a node stops with. Nothing repairs them in the same process.
var (
	ErrDiskFailed  = errors.New("the disk has failed: this node stopped, so that it acknowledges nothing it did not store")
	ErrDiverged    = errors.New("this node's log contradicted the leader's snapshot and was repaired: start the node again")
	ErrDiskStalled = errors.New("the disk does not answer: this node stopped, so that another can lead")
)

// fault is the first error that a node cannot go on from.
type fault struct {
	once   sync.Once
	failed chan error    // capacity 1
	down   chan struct{} // closed with the first fault
	err    error         // valid once down is closed
}

func newFault() *fault { return &fault{failed: make(chan error, 1), down: make(chan struct{})} }

// raise reports a fault; only the first counts.
func (f *fault) raise(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.down)
		f.failed <- err
	})
}

// Err returns the fault, nil while there is none.
func (f *fault) Err() error {
	select {
	case <-f.down:
		return f.err
	default:
		return nil
	}
}
