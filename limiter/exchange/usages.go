package exchange

import (
	"context"
	"fmt"

	"quorate/limiter"
	"quorate/limiter/codec"
)

func (e *Exchange) markAbsorbed(u limiter.FallbackUsage, units int64) {
	if units > 0 {
		e.Local.MarkAbsorbed(u, units)
	}
}

// sendUsages sends fallback usage in as many messages as it needs, until one is not
// answered.
func (e *Exchange) sendUsages(ctx context.Context, s Step) {
	for left := s.Usages; len(left) > 0; {
		body, n := newWriter(), 0
		for ; n < min(len(left), maxBatch) && body.Len() < pageBytes; n++ {
			body.fallbackUsage(&left[n])
		}
		if !e.sendUsageMessage(ctx, s, left[:n], body) {
			return
		}
		left = left[n:]
	}
}

// sendUsageMessage sends fallback usage that is encoded already, and reports whether
// the node has answered.
func (e *Exchange) sendUsageMessage(ctx context.Context, s Step, usages []limiter.FallbackUsage, body *writer) bool {
	w := newWriter()
	w.Byte(kindUsage)
	w.append(len(usages), body)
	message, err := w.Finish()
	if err != nil {
		e.Log.Error("fallback usage cannot be encoded", "err", err)
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	b, err := e.Transport.Exchange(ctx, s.To, message)
	if err != nil {
		return false
	}
	r := newReader(b)
	if r.ArrayUpTo(maxBatch) != len(usages) {
		return false
	}
	for _, u := range usages {
		if units := r.units(); r.Err() == nil {
			e.markAbsorbed(u, units)
		}
	}
	return r.End() == nil
}

// serveUsages takes fallback usage and answers how much of each the owner has
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
