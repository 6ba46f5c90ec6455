package exchange

import (
	"context"
	"sync"
	"time"

	"quorate/limiter"
)

const (
	// fetchTimeout is how long a new owner waits for each answer of what one other node
	// knows.
	fetchTimeout = 300 * time.Millisecond
	// handoffTimeout is how long a taker's answer may take.
	handoffTimeout = time.Second
	// handoffRetry is after how long a taker that has refused is asked again.
	handoffRetry = 20 * time.Millisecond
	// handoffChunk is how many partitions an owner stops deciding on at once.
	handoffChunk = 256
	// pageBytes is the size from which a message is full.
	pageBytes = 256 << 10
)

// task is something that is under way, once at a time.
type task struct{ kind, node string }

func (e *Exchange) beginTask(d task) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy[d] {
		return false
	}
	e.busy[d] = true
	return true
}

func (e *Exchange) endTask(d task) {
	e.mu.Lock()
	delete(e.busy, d)
	e.mu.Unlock()
}

// startTasks begins what the map asks of this node and is not under way.
func (e *Exchange) startTasks(ctx context.Context) {
	d := e.Local.Tasks()
	if len(d.Fetch) > 0 {
		e.once(task{kind: "recover"}, func() { e.recoverPartitions(ctx, d) })
	}
	for node, parts := range d.Copy {
		e.once(task{"copy", node}, func() { e.copyPartitions(ctx, d.Epoch, node, parts) })
	}
	for node, parts := range d.Handoff {
		e.once(task{"handoff", node}, func() { e.handOff(ctx, d.Epoch, node, parts) })
	}
}

// once runs fn on a goroutine unless the same is under way. Afterwards the
// tasks are looked at again.
func (e *Exchange) once(d task, fn func()) {
	if e.beginTask(d) && !e.spawn(func(context.Context) { fn(); e.endTask(d) }) {
		e.endTask(d)
	}
}

// recoverPartitions fetches what others know of partitions, and then owns them.
func (e *Exchange) recoverPartitions(ctx context.Context, d limiter.Tasks) {
	var wg sync.WaitGroup
	all := map[int]bool{}
	for node, parts := range d.Fetch {
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
	e.Local.FinishRecovery(d.Epoch, parts)
	e.Log.Info("owner of partitions", "epoch", d.Epoch, "partitions", len(parts))
}
