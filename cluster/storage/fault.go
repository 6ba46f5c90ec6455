package storage

import (
	"errors"
	"sync"
)

// The faults that stop a node. Only a restart of the process clears them.
var (
	ErrDiskFailed  = errors.New("the disk has failed: this node stopped, so that it acknowledges nothing it did not store")
	ErrDiverged    = errors.New("this node's log contradicted the leader's snapshot and was repaired: start the node again")
	ErrDiskStalled = errors.New("the disk does not answer: this node stopped, so that another can lead")
)

// Fault is the first error that a node cannot continue from. Its methods may be
// called concurrently.
type Fault struct {
	once   sync.Once
	failed chan error    // capacity 1
	down   chan struct{} // closed with the first fault
	err    error         // valid once down is closed
}

// NewFault returns a Fault that has not been raised.
func NewFault() *Fault { return &Fault{failed: make(chan error, 1), down: make(chan struct{})} }

// Raise records a fault. Only the first call has an effect.
func (f *Fault) Raise(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.down)
		f.failed <- err
	})
}

// Err returns the fault, or nil if none was raised.
func (f *Fault) Err() error {
	select {
	case <-f.down:
		return f.err
	default:
		return nil
	}
}

// Failed returns a channel that delivers the fault once.
func (f *Fault) Failed() <-chan error { return f.failed }

// Done returns a channel that is closed when a fault is raised.
func (f *Fault) Done() <-chan struct{} { return f.down }
