package testcluster

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Load is a set of clients that run until Stop.
type Load struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	failed []string // guarded by mu
}

// NewLoad returns a Load without clients.
func NewLoad(tb testing.TB) *Load {
	l := &Load{}
	l.ctx, l.stop = context.WithCancel(tb.Context())
	return l
}

// Client calls do until Stop, and pauses after each call for as long as do returns.
// The context of do ends with Stop.
func (l *Load) Client(do func(ctx context.Context) (pause time.Duration)) {
	l.wg.Go(func() {
		for l.ctx.Err() == nil {
			select {
			case <-time.After(do(l.ctx)):
			case <-l.ctx.Done():
			}
		}
	})
}

// Stop waits until all clients have returned.
func (l *Load) Stop() {
	l.stop()
	l.wg.Wait()
}

// Fail records that a client got something else than it should. It may be called by
// several clients at once.
func (l *Load) Fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, fmt.Sprintf(format, args...))
}

// Failed returns what Fail has recorded.
func (l *Load) Failed() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// WantNone fails the test if a client has failed.
func (l *Load) WantNone(tb testing.TB) {
	tb.Helper()
	if failed := l.Failed(); len(failed) > 0 {
		tb.Errorf("%d requests failed; the first: %s", len(failed), failed[0])
	}
}
