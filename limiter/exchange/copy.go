package exchange

import (
	"context"

	"quorate/limiter"
)

// copyPartitions gives a successor a whole copy of partitions: buckets that nobody asks for
// are not published otherwise. What is not confirmed is tried again at a later beat.
func (e *Exchange) copyPartitions(ctx context.Context, epoch uint64, node string, parts []int) {
	to := e.sender(node)
	if to == nil {
		return
	}
	for len(parts) > 0 && ctx.Err() == nil && e.Local.Epoch() == epoch {
		var batch []limiter.UsageBound
		n := 0
		for n < len(parts) && (n == 0 || len(batch) < maxBatch/4) {
			batch = append(batch, e.Local.Republish(parts[n], node)...)
			n++
		}
		for len(batch) > 0 {
			some := batch[:min(len(batch), maxBatch)]
			if batch = batch[len(some):]; !to.send(ctx, some) {
				return
			}
		}
		e.Local.MarkCopied(epoch, parts[:n], node)
		parts = parts[n:]
	}
}
