package exchange

import (
	"context"
	"fmt"

	"quorate/limiter/codec"
)

// canImport reports whether a receiver can decide on partitions as soon as it has
// them.
func (e *Exchange) canImport(ctx context.Context, s Step) bool {
	w := newWriter()
	w.Byte(kindCanImport)
	w.Uint(s.Epoch)
	w.partitions(s.Parts)
	message, err := w.Finish()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	b, err := e.Transport.Exchange(ctx, s.To, message)
	if err != nil {
		return false
	}
	r := newReader(b)
	return r.IntIn(0, 1) == 1 && r.End() == nil
}

// serveCanImport answers 1 if this node could decide on the partitions, otherwise 0.
func (e *Exchange) serveCanImport(r *reader) ([]byte, error) {
	epoch := r.Uint()
	parts := e.partitions(r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("can import: %w", err)
	}
	w := newWriter()
	if e.Local.CanImport(epoch, parts) {
		w.Int(1)
	} else {
		w.Int(0)
	}
	return w.Finish()
}

// sendHandoff sends partitions, as many as fit a message, and returns how many of them
// the receiver has. A partition that is too large for one message goes in several.
func (e *Exchange) sendHandoff(ctx context.Context, s Step) (given int) {
	b := handoffBatch{try: e.tries.Add(1), body: newWriter()}
	for _, p := range s.Parts {
		m := e.Local.ExportPartition(p)
		for at, last := 0, false; !last; at++ {
			last = b.add(at, &m)
			if !last {
				n, ok := e.sendBatch(ctx, s, &b)
				if given += n; !ok {
					return given
				}
				b = handoffBatch{try: b.try, body: newWriter()}
			}
		}
		if b.body.Len() >= pageBytes {
			break
		}
	}
	n, _ := e.sendBatch(ctx, s, &b)
	return given + n
}

// sendBatch sends a batch. It returns how many partitions the receiver has by it, and
// whether the receiver has kept all pieces.
func (e *Exchange) sendBatch(ctx context.Context, s Step, b *handoffBatch) (given int, all bool) {
	message, err := b.message(s.Epoch)
	if err != nil {
		e.Log.Error("a handoff cannot be encoded", "err", err)
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	answer, err := e.Transport.Exchange(ctx, s.To, message)
	if err != nil {
		e.Log.Debug("handoff", "to", s.To, "err", err)
		return 0, false
	}
	r := newReader(answer)
	n := int(r.IntIn(0, int64(len(b.last))))
	if err := r.End(); err != nil {
		e.Log.Error("the answer to a handoff cannot be read", "from", s.To, "err", err)
		return 0, false
	}
	for _, last := range b.last[:n] {
		if last {
			given++
		}
	}
	return given, n == len(b.last)
}

// serveHandoff imports partitions, in order, and answers how many pieces it has kept.
func (e *Exchange) serveHandoff(r *reader) ([]byte, error) {
	epoch, try := r.Uint(), r.Uint()
	pieces := codec.List(r.Reader, e.Local.Partitions(), func() piece { return r.piece(e.Local.Partitions()) })
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("handoff: %w", err)
	}
	w := newWriter()
	w.Int(int64(e.importPieces(epoch, try, pieces)))
	return w.Finish()
}
