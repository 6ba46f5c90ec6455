package exchange

import (
	"context"
	"fmt"
	"slices"
	"time"

	"quorate/limiter/codec"
)

// handOff hands partitions over to their taker until it has all or the map has
// moved on: the taker may not know of the map yet.
func (e *Exchange) handOff(ctx context.Context, epoch uint64, node string, parts []int) {
	left := slices.DeleteFunc(parts, func(p int) bool { return e.confirmed(epoch, p) })
	if len(left) == 0 {
		return // the map will say so soon
	}
	n := len(left)
	for len(left) > 0 && e.Local.Epoch() == epoch {
		// This node decides until its taker can: one that cannot be reached would
		// leave nobody to.
		if some := left[:min(len(left), handoffChunk)]; e.canImport(ctx, epoch, node, some) {
			e.Local.BeginExport(epoch, some)
			given := e.sendHandoff(ctx, epoch, node, some)
			e.confirm(epoch, left[:given])
			e.Local.DropReservations(left[:given])
			if left = left[given:]; given > 0 {
				continue
			}
		}
		select {
		case <-time.After(handoffRetry):
		case <-ctx.Done():
			return
		}
	}
	e.Log.Info("handed partitions over", "epoch", epoch, "to", node, "partitions", n-len(left), "left", len(left))
}

// canImport reports whether a taker can decide on partitions as soon as it has them.
func (e *Exchange) canImport(ctx context.Context, epoch uint64, node string, parts []int) bool {
	w := newWriter()
	w.Byte(kindCanImport)
	w.Uint(epoch)
	w.partitions(parts)
	message, err := w.Finish()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	b, err := e.Transport.Exchange(ctx, node, message)
	if err != nil {
		return false
	}
	r := newReader(b)
	return r.IntIn(0, 1) == 1 && r.End() == nil
}

// serveCanImport answers 1 if this node could decide on the partitions, else 0.
func (e *Exchange) serveCanImport(r *reader) ([]byte, error) {
	epoch := r.Uint()
	parts := e.partitions(r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("await: %w", err)
	}
	w := newWriter()
	if e.Local.CanImport(epoch, parts) {
		w.Int(1)
	} else {
		w.Int(0)
	}
	return w.Finish()
}

// confirmed reports whether a partition's taker has confirmed it in an epoch.
func (e *Exchange) confirmed(epoch uint64, p int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.confirmedIn[p] == epoch
}

func (e *Exchange) confirm(epoch uint64, parts []int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range parts {
		e.confirmedIn[p] = epoch
	}
}

// sendHandoff hands over partitions, as many as fit a message, and returns how many
// of them the taker has. One that is too large for a message goes in several.
func (e *Exchange) sendHandoff(ctx context.Context, epoch uint64, node string, parts []int) (given int) {
	b := handoffBatch{try: e.tries.Add(1), body: newWriter()}
	for _, p := range parts {
		m := e.Local.ExportPartition(p)
		for at, last := 0, false; !last; at++ {
			last = b.add(at, &m)
			if !last {
				n, ok := e.sendBatch(ctx, epoch, node, &b)
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
	n, _ := e.sendBatch(ctx, epoch, node, &b)
	return given + n
}

// sendBatch hands a batch over and returns how many partitions the taker has by
// it, and whether it has taken all.
func (e *Exchange) sendBatch(ctx context.Context, epoch uint64, node string, b *handoffBatch) (given int, all bool) {
	message, err := b.message(epoch)
	if err != nil {
		e.Log.Error("a handover cannot be encoded", "err", err)
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, handoffTimeout)
	defer cancel()
	answer, err := e.Transport.Exchange(ctx, node, message)
	if err != nil {
		e.Log.Debug("handover", "to", node, "err", err)
		return 0, false
	}
	r := newReader(answer)
	n := int(r.IntIn(0, int64(len(b.last))))
	if err := r.End(); err != nil {
		e.Log.Error("the answer to a handoff cannot be read", "from", node, "err", err)
		return 0, false
	}
	for _, last := range b.last[:n] {
		if last {
			given++
		}
	}
	return given, n == len(b.last)
}

// serveHandoff takes partitions over, in order, and answers how many pieces of them
// it has.
func (e *Exchange) serveHandoff(r *reader) ([]byte, error) {
	epoch, try := r.Uint(), r.Uint()
	pieces := codec.List(r.Reader, e.Local.Partitions(), func() piece { return r.piece(e.Local.Partitions()) })
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	w := newWriter()
	w.Int(int64(e.importPieces(epoch, try, pieces)))
	return w.Finish()
}
