package exchange

import (
	"context"
	"fmt"
	"sync"
	"time"

	"quorate/limiter"
)

const (
	// inFlight is how many messages of statements to one node are under way at
	// once; what comes meanwhile leaves together.
	inFlight = 2
	// confirmFor is how long a confirmation may take before its message counts as
	// lost. The owner has stated anew by then.
	confirmFor = time.Second
	// maxWaiting bounds the statements that wait for one node; those beyond are
	// dropped, and their owner states anew.
	maxWaiting = 1 << 16
)

// sender sends statements to one node.
type sender struct {
	e    *Exchange
	node string
	wake chan struct{}

	mu      sync.Mutex
	waiting []limiter.Statement // guarded by mu
}

// State is limiter.Outbox.
func (e *Exchange) State(s limiter.Statement) {
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

func (s *sender) add(st limiter.Statement) {
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

// run sends what waits until ctx ends.
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
		for batch := s.take(slots, ctx); len(batch) > 0; batch = s.take(slots, ctx) {
			wg.Go(func() {
				s.send(ctx, batch)
				<-slots
			})
		}
	}
}

// take waits for a slot and takes what waits by then; a slot that is not used
// is given back.
func (s *sender) take(slots chan struct{}, ctx context.Context) []limiter.Statement {
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

// send sends statements and waits for what the node says, in as many messages as
// they need. It reports whether the node has all of them.
func (s *sender) send(ctx context.Context, batch []limiter.Statement) bool {
	all := true
	for len(batch) > 0 {
		body, n := newWriter(), 0
		for ; n < len(batch) && body.buf.Len() < pageBytes; n++ {
			body.statement(&batch[n])
		}
		all = s.sendSome(ctx, batch[:n], body) && all
		batch = batch[n:]
	}
	return all
}

// sendSome sends statements that are encoded already.
func (s *sender) sendSome(ctx context.Context, batch []limiter.Statement, body *writer) bool {
	e := s.e
	w := newWriter()
	w.buf.WriteByte(kindStatements)
	w.append(len(batch), body)
	message, err := w.bytes()
	if err != nil {
		e.Log.Error("statements cannot be encoded", "err", err)
		return false
	}
	e.Statements.Add(uint64(len(batch)))
	e.Messages.Add(1)
	ctx, cancel := context.WithTimeout(ctx, confirmFor)
	defer cancel()
	sent := e.Now()
	taken, err := e.Transport.Exchange(ctx, s.node, message)
	if err != nil || len(taken) != len(batch) {
		e.Lost.Add(uint64(len(batch)))
		return false
	}
	e.Lag.Store(int64(e.Now() - sent))
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

// serveStatements takes statements over and answers a byte for each: 1 where it
// is a copy now.
func (e *Exchange) serveStatements(r *reader) ([]byte, error) {
	batch := list(r, maxBatch, r.statement)
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("statements: %w", err)
	}
	taken := make([]byte, len(batch))
	for i := range batch {
		if e.Local.Store(batch[i]) {
			taken[i] = 1
		}
	}
	return taken, nil
}
