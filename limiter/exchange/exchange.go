// Package exchange carries what nodes exchange of buckets: usage bounds, fallback
// usage, what a node knows of a partition, and partitions that are handed off.
//
// Plan decides what is sent to which node and when; Exchange drives it with goroutines
// and bytes. Nothing has to arrive: an owner without an answer publishes again, and a
// task that has failed begins again at a later beat.
package exchange

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"quorate/limiter"
)

// Transport reaches other nodes. Calls may overlap.
type Transport interface {
	// Exchange sends a message to a node and returns its answer, that of Serve
	// there.
	Exchange(ctx context.Context, node string, message []byte) ([]byte, error)
}

// The kinds of messages, in their first byte.
const (
	kindBounds byte = iota + 1
	kindUsage
	kindFetch
	kindHandoff
	kindCanImport
)

// Config is what an Exchange is made of.
type Config struct {
	Local     limiter.Config // New sets its Outbox
	Transport Transport
	Log       *slog.Logger
}

// Exchange is one node's side. Its methods may overlap.
//
// mu and sender.mu come last in the order of locks that is written at the limiter's
// shard: both are taken with the lock of a shard held. With mu held Exchange calls
// only the Plan, Local.HoldersOf, which takes no lock, and Log.
type Exchange struct {
	Local     *limiter.Local
	Transport Transport
	Log       *slog.Logger

	node string
	now  func() time.Duration
	kick chan struct{}
	wg   sync.WaitGroup

	mu       sync.Mutex
	ctx      context.Context            // nil: it does not run; guarded by mu
	senders  map[string]*sender         // guarded by mu
	plan     *Plan                      // guarded by mu
	incoming map[int]*incomingPartition // by partition; guarded by mu

	seed  maphash.Seed
	tries atomic.Uint64 // of handoffs

	Bounds      atomic.Uint64 // sent
	Messages    atomic.Uint64 // that carried them
	Unconfirmed atomic.Uint64 // usage bounds that no copy confirmed
	Lag         atomic.Int64  // nanoseconds from the last usage bound's sending to its confirmation
}

// New returns an exchange and the Local that publishes by it. It sends nothing before
// Run.
func New(c Config) (*Exchange, error) {
	e := &Exchange{
		Transport: c.Transport, Log: c.Log, node: c.Local.Node, now: c.Local.Now, kick: make(chan struct{}, 1),
		senders: map[string]*sender{}, plan: NewPlan(c.Local.Node), incoming: map[int]*incomingPartition{}, seed: maphash.MakeSeed(),
	}
	c.Local.Outbox = e
	var err error
	e.Local, err = limiter.NewLocal(c.Local)
	return e, err
}

// Run works until ctx ends, and until all goroutines that it has started have ended.
func (e *Exchange) Run(ctx context.Context) {
	e.mu.Lock()
	e.ctx = ctx
	e.mu.Unlock()
	t := time.NewTicker(BeatEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			e.beat()
		case <-e.kick:
		case <-ctx.Done():
			e.mu.Lock()
			e.ctx = nil
			e.mu.Unlock()
			e.wg.Wait()
			return
		}
		e.begin()
	}
}

// Wake begins the open tasks at once, because there is a new map. It does not block.
func (e *Exchange) Wake() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// spawn runs fn on a goroutine that Run waits for. It returns false if Run does not
// run.
func (e *Exchange) spawn(fn func(ctx context.Context)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.spawnLocked(fn)
}

func (e *Exchange) spawnLocked(fn func(ctx context.Context)) bool {
	ctx := e.ctx
	if ctx == nil {
		return false
	}
	e.wg.Add(1)
	go func() { defer e.wg.Done(); fn(ctx) }()
	return true
}

// Serve answers a message of another node.
func (e *Exchange) Serve(message []byte) ([]byte, error) {
	r := newReader(message)
	kind := r.Byte()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	switch kind {
	case kindBounds:
		return e.serveBounds(r)
	case kindUsage:
		return e.serveUsages(r)
	case kindFetch:
		return e.serveFetch(r)
	case kindHandoff:
		return e.serveHandoff(r)
	case kindCanImport:
		return e.serveCanImport(r)
	}
	return nil, fmt.Errorf("%w: unknown kind %d", ErrMessage, kind)
}
