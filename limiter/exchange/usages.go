package exchange

import (
	"context"
	"fmt"
	"time"

	"quorate/limiter"
	"quorate/limiter/codec"
)

const (
	// usageTimeout is how long an answer to usages may take.
	usageTimeout = time.Second
	// maxUsages bounds the usages that one node is told at a beat; the others are
	// told when some are absorbed.
	maxUsages = 1 << 16
)

// sendUsages has all who should know hear what this node has admitted as a fallback node, and
// the owners have not absorbed.
func (e *Exchange) sendUsages(ctx context.Context) {
	byNode := map[string][]limiter.FallbackUsage{}
	for _, t := range e.Local.FallbackUsages() {
		for _, node := range e.Local.HoldersOf(t.Account) {
			if node == e.node {
				e.markAbsorbed(t, e.Local.ReceiveUsage(t))
			} else if node != "" && len(byNode[node]) < maxUsages {
				byNode[node] = append(byNode[node], t)
			}
		}
	}
	for node, usages := range byNode {
		d := task{"usage", node}
		if e.beginTask(d) && !e.spawn(func(context.Context) {
			defer e.endTask(d)
			e.sendUsagesTo(ctx, node, usages)
		}) {
			e.endTask(d)
		}
	}
}

func (e *Exchange) markAbsorbed(t limiter.FallbackUsage, units int64) {
	if units > 0 {
		e.Local.MarkAbsorbed(t, units)
	}
}

// sendUsagesTo tells a node usages in as many messages as they need. What it does not
// hear is told again at a later beat.
func (e *Exchange) sendUsagesTo(ctx context.Context, node string, usages []limiter.FallbackUsage) {
	for len(usages) > 0 {
		body, n := newWriter(), 0
		for ; n < min(len(usages), maxBatch) && body.Len() < pageBytes; n++ {
			body.fallbackUsage(&usages[n])
		}
		if !e.sendUsageMessage(ctx, node, usages[:n], body) {
			return
		}
		usages = usages[n:]
	}
}

// sendUsageMessage tells usages that are encoded already, and reports whether the node has
// heard them.
func (e *Exchange) sendUsageMessage(ctx context.Context, node string, usages []limiter.FallbackUsage, body *writer) bool {
	w := newWriter()
	w.Byte(kindUsage)
	w.append(len(usages), body)
	message, err := w.Finish()
	if err != nil {
		e.Log.Error("fallback usage cannot be encoded", "err", err)
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, usageTimeout)
	defer cancel()
	b, err := e.Transport.Exchange(ctx, node, message)
	if err != nil {
		return false
	}
	r := newReader(b)
	if r.ArrayUpTo(maxBatch) != len(usages) {
		return false
	}
	for _, t := range usages {
		if units := r.units(); r.Err() == nil {
			e.markAbsorbed(t, units)
		}
	}
	return r.End() == nil
}

// serveUsages hears usages and answers how much of each the owner has
// absorbed.
func (e *Exchange) serveUsages(r *reader) ([]byte, error) {
	usages := codec.List(r.Reader, maxBatch, r.fallbackUsage)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("fallback usage: %w", err)
	}
	w := newWriter()
	w.Array(len(usages))
	for i := range usages {
		w.Int(max(0, e.Local.ReceiveUsage(usages[i])))
	}
	return w.Finish()
}
