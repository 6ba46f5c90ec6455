package exchange

import (
	"context"

	"quorate/limiter"
)

// copy gives a successor a whole copy of partitions: buckets that nobody asks for
// are not stated otherwise. What is not confirmed is tried again at a later beat.
func (e *Exchange) copy(ctx context.Context, epoch uint64, node string, parts []int) {
	to := e.sender(node)
	if to == nil {
		return
	}
	for len(parts) > 0 && ctx.Err() == nil && e.Local.Epoch() == epoch {
		var batch []limiter.Statement
		n := 0
		for n < len(parts) && (n == 0 || len(batch) < maxBatch/4) {
			batch = append(batch, e.Local.Restate(parts[n], node)...)
			n++
		}
		for len(batch) > 0 {
			some := batch[:min(len(batch), maxBatch)]
			if batch = batch[len(some):]; !to.send(ctx, some) {
				return
			}
		}
		e.Local.Copied(epoch, parts[:n], node)
		parts = parts[n:]
	}
}
