package exchange

import (
	"context"
	"sync"
	"time"

	"quorate/limiter"
)

const (
	// fetchFor is how long a new owner waits for each answer of what one other node
	// knows.
	fetchFor = 300 * time.Millisecond
	// handFor is how long a taker's answer may take.
	handFor = time.Second
	// handAgain is after how long a taker that has refused is asked again.
	handAgain = 20 * time.Millisecond
	// handChunk is how many partitions an owner stops deciding on at once.
	handChunk = 256
	// pageBytes is the size from which a message is full.
	pageBytes = 256 << 10
)

// duty is something that is under way, once at a time.
type duty struct{ what, node string }

func (e *Exchange) begin(d duty) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy[d] {
		return false
	}
	e.busy[d] = true
	return true
}

func (e *Exchange) done(d duty) {
	e.mu.Lock()
	delete(e.busy, d)
	e.mu.Unlock()
}

// duties begins what the map asks of this node and is not under way.
func (e *Exchange) duties(ctx context.Context) {
	d := e.Local.Duties()
	if len(d.Take) > 0 {
		e.once(duty{what: "take"}, func() { e.take(ctx, d) })
	}
	for node, parts := range d.Copy {
		e.once(duty{"copy", node}, func() { e.copy(ctx, d.Epoch, node, parts) })
	}
	for node, parts := range d.Hand {
		e.once(duty{"hand", node}, func() { e.hand(ctx, d.Epoch, node, parts) })
	}
}

// once runs fn on a goroutine unless the same is under way. Afterwards the
// duties are looked at again.
func (e *Exchange) once(d duty, fn func()) {
	if e.begin(d) && !e.spawn(func(context.Context) { fn(); e.done(d) }) {
		e.done(d)
	}
}

// take fetches what others know of partitions, and then owns them.
func (e *Exchange) take(ctx context.Context, d limiter.Duties) {
	var wg sync.WaitGroup
	all := map[int]bool{}
	for node, parts := range d.Take {
		for _, p := range parts {
			all[p] = true
		}
		if node != "" {
			wg.Go(func() { e.fetch(ctx, node, parts) })
		}
	}
	wg.Wait()
	if ctx.Err() != nil {
		return
	}
	parts := make([]int, 0, len(all))
	for p := range all {
		parts = append(parts, p)
	}
	e.Local.Taken(d.Epoch, parts)
	e.Log.Info("owner of partitions", "epoch", d.Epoch, "partitions", len(parts))
}
