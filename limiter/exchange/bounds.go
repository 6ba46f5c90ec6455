package exchange

import (
	"context"
	"fmt"
	"sync"

	"quorate/limiter"
	"quorate/limiter/codec"
)

const (
	// inFlight is how many messages of usage bounds are under way to one node at once.
	// The bounds that come meanwhile leave together.
	inFlight = 2
	// maxWaiting limits the usage bounds that wait for one node. Those beyond are
	// dropped; the owner publishes again.
	maxWaiting = 1 << 16
)

// sender sends usage bounds to one node.
type sender struct {
	e    *Exchange
	node string
	wake chan struct{}

	mu      sync.Mutex           // the last in the order of locks
	waiting []limiter.UsageBound // guarded by mu
}

// Publish is limiter.Outbox. It is called with the lock of a shard held.
func (e *Exchange) Publish(s limiter.UsageBound) {
	if to := e.sender(s.To); to != nil {
		to.add(s)
	}
}

func (e *Exchange) sender(node string) *sender {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.senders[node]
	if s == nil {
		s = &sender{e: e, node: node, wake: make(chan struct{}, 1)}
		if !e.spawnLocked(s.run) {
			return nil
		}
		e.senders[node] = s
	}
	return s
}

func (s *sender) add(st limiter.UsageBound) {
	s.mu.Lock()
	if len(s.waiting) < maxWaiting {
		s.waiting = append(s.waiting, st)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run sends the bounds that wait until ctx ends.
func (s *sender) run(ctx context.Context) {
	slots := make(chan struct{}, inFlight)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		for batch := s.next(slots, ctx); len(batch) > 0; batch = s.next(slots, ctx) {
			wg.Go(func() {
				s.send(ctx, batch)
				<-slots
			})
		}
	}
}

// next waits for a slot and takes what waits by then. It gives back a slot that is not
// used.
func (s *sender) next(slots chan struct{}, ctx context.Context) []limiter.UsageBound {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.waiting), maxBatch)
	batch := s.waiting[:n:n]
	if s.waiting = s.waiting[n:]; len(s.waiting) == 0 {
		s.waiting = nil
	}
	if n == 0 {
		<-slots
	}
	return batch
}

// send sends usage bounds, in as many messages as they need, and reports whether the
// node has confirmed all.
func (s *sender) send(ctx context.Context, batch []limiter.UsageBound) bool {
	all := true
	for len(batch) > 0 {
		body, n := newWriter(), 0
		for ; n < len(batch) && body.Len() < pageBytes; n++ {
			body.bound(&batch[n])
		}
		all = s.sendSome(ctx, batch[:n], body) && all
		batch = batch[n:]
	}
	return all
}

// sendSome sends usage bounds that are encoded already.
func (s *sender) sendSome(ctx context.Context, batch []limiter.UsageBound, body *writer) bool {
	e := s.e
	w := newWriter()
	w.Byte(kindBounds)
	w.append(len(batch), body)
	message, err := w.Finish()
	if err != nil {
		e.Log.Error("usage bounds cannot be encoded", "err", err)
		return false
	}
	e.Bounds.Add(uint64(len(batch)))
	e.Messages.Add(1)
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	sent := e.now()
	taken, err := e.Transport.Exchange(ctx, s.node, message)
	if err != nil || len(taken) != len(batch) {
		e.Unconfirmed.Add(uint64(len(batch)))
		return false
	}
	e.Lag.Store(int64(e.now() - sent))
	all := true
	for i := range batch {
		if taken[i] == 1 {
			e.Local.Acked(batch[i].ID, s.node, batch[i].Seq)
		} else {
			all = false
		}
	}
	return all
}

// serveBounds stores usage bounds and answers a byte for each: 1 if its copy has it.
func (e *Exchange) serveBounds(r *reader) ([]byte, error) {
	batch := codec.List(r.Reader, maxBatch, r.bound)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("usage bounds: %w", err)
	}
	taken := make([]byte, len(batch))
	for i := range batch {
		if e.Local.StoreBound(batch[i]) {
			taken[i] = 1
		}
	}
	return taken, nil
}
