package exchange

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// hand hands partitions over to their taker until it has all or the map has
// moved on: the taker may not know of the map yet.
func (e *Exchange) hand(ctx context.Context, epoch uint64, node string, parts []int) {
	left := slices.DeleteFunc(parts, func(p int) bool { return e.given(epoch, p) })
	if len(left) == 0 {
		return // the map will say so soon
	}
	n := len(left)
	for len(left) > 0 && e.Local.Epoch() == epoch {
		// This node decides until its taker can: one that cannot be reached would
		// leave nobody to.
		if some := left[:min(len(left), handChunk)]; e.awaited(ctx, epoch, node, some) {
			e.Local.Stop(epoch, some)
			given := e.handSome(ctx, epoch, node, some)
			e.give(epoch, left[:given])
			e.Local.Gone(left[:given])
			if left = left[given:]; given > 0 {
				continue
			}
		}
		select {
		case <-time.After(handAgain):
		case <-ctx.Done():
			return
		}
	}
	e.Log.Info("handed partitions over", "epoch", epoch, "to", node, "partitions", n-len(left), "left", len(left))
}

// awaited reports whether a taker can decide on partitions as soon as it has them.
func (e *Exchange) awaited(ctx context.Context, epoch uint64, node string, parts []int) bool {
	w := newWriter()
	w.buf.WriteByte(kindAwait)
	w.uint(epoch)
	w.partitions(parts)
	message, err := w.bytes()
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, fetchFor)
	defer cancel()
	b, err := e.Transport.Exchange(ctx, node, message)
	if err != nil {
		return false
	}
	r := newReader(b)
	return r.int(0, 1) == 1 && r.end() == nil
}

// serveAwait answers 1 if this node could decide on the partitions, else 0.
func (e *Exchange) serveAwait(r *reader) ([]byte, error) {
	epoch := r.uint()
	parts := e.partitions(r)
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("await: %w", err)
	}
	w := newWriter()
	if e.Local.Awaiting(epoch, parts) {
		w.int(1)
	} else {
		w.int(0)
	}
	return w.bytes()
}

// given reports whether a partition's taker has confirmed it in an epoch.
func (e *Exchange) given(epoch uint64, p int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gave[p] == epoch
}

func (e *Exchange) give(epoch uint64, parts []int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range parts {
		e.gave[p] = epoch
	}
}

// handSome hands over partitions, as many as fit a message, and returns how many
// of them the taker has. One that is too large for a message goes in several.
func (e *Exchange) handSome(ctx context.Context, epoch uint64, node string, parts []int) (given int) {
	b := parcel{try: e.tries.Add(1), body: newWriter()}
	for _, p := range parts {
		m := e.Local.Leave(p)
		for at, last := 0, false; !last; at++ {
			last = b.add(at, &m)
			if !last {
				n, ok := e.handParcel(ctx, epoch, node, &b)
				if given += n; !ok {
					return given
				}
				b = parcel{try: b.try, body: newWriter()}
			}
		}
		if b.body.buf.Len() >= pageBytes {
			break
		}
	}
	n, _ := e.handParcel(ctx, epoch, node, &b)
	return given + n
}

// handParcel hands a parcel over and returns how many partitions the taker has by
// it, and whether it has taken all.
func (e *Exchange) handParcel(ctx context.Context, epoch uint64, node string, b *parcel) (given int, all bool) {
	message, err := b.message(epoch)
	if err != nil {
		e.Log.Error("a handover cannot be encoded", "err", err)
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, handFor)
	defer cancel()
	answer, err := e.Transport.Exchange(ctx, node, message)
	if err != nil {
		e.Log.Debug("handover", "to", node, "err", err)
		return 0, false
	}
	r := newReader(answer)
	n := int(r.int(0, int64(len(b.last))))
	for _, last := range b.last[:n] {
		if last {
			given++
		}
	}
	return given, n == len(b.last)
}

// serveHand takes partitions over, in order, and answers how many pieces of them
// it has.
func (e *Exchange) serveHand(r *reader) ([]byte, error) {
	epoch, try := r.uint(), r.uint()
	pieces := list(r, e.Local.Partitions(), func() piece { return r.piece(e.Local.Partitions()) })
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	w := newWriter()
	w.int(int64(e.receive(epoch, try, pieces)))
	return w.bytes()
}
