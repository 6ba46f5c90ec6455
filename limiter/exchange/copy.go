package exchange

import (
	"context"

	"quorate/limiter"
)

// copyPartitions sends a successor all buckets of partitions, of as many as make a
// quarter of a message: those that are not checked at the moment are published at no
// other time.
func (e *Exchange) copyPartitions(ctx context.Context, s Step) (o Outcome) {
	to := e.sender(s.To)
	if to == nil {
		return o
	}
	var batch []limiter.UsageBound
	for o.Count < len(s.Parts) && (o.Count == 0 || len(batch) < maxBatch/4) {
		batch = append(batch, e.Local.Republish(s.Parts[o.Count], s.To)...)
		o.Count++
	}
	for o.OK = true; o.OK && len(batch) > 0; {
		some := batch[:min(len(batch), maxBatch)]
		batch = batch[len(some):]
		o.OK = to.send(ctx, some)
	}
	return o
}
