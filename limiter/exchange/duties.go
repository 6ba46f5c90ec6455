package exchange

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"quorate/limiter"
)

const (
	// fetchFor is how long a new owner waits for what one other node knows.
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

// fetch merges what a node knows of partitions, page by page. A node that does
// not answer cannot be waited for.
func (e *Exchange) fetch(ctx context.Context, node string, parts []int) {
	for len(parts) > 0 {
		w := newWriter()
		w.buf.WriteByte(kindFetch)
		w.partitions(parts)
		message, err := w.bytes()
		if err != nil {
			e.Log.Error("a fetch cannot be encoded", "err", err)
			return
		}
		page, cancel := context.WithTimeout(ctx, fetchFor)
		b, err := e.Transport.Exchange(page, node, message)
		cancel()
		if err != nil {
			e.Log.Warn("partitions are taken without one node's copies", "node", node, "partitions", len(parts), "err", err)
			return
		}
		r := newReader(b)
		n := r.array(len(parts))
		known := make([]limiter.Known, r.array(maxKnown))
		for i := range known {
			known[i] = r.known()
		}
		if err := r.end(); err != nil || n == 0 {
			e.Log.Error("a node's copies cannot be read", "node", node, "err", err)
			return
		}
		for _, k := range known {
			e.Local.Merge(k)
		}
		parts = parts[n:]
	}
}

// serveFetch answers how many of the partitions asked for the page holds, and
// what this node knows of them.
func (e *Exchange) serveFetch(r *reader) ([]byte, error) {
	parts := e.partitions(r)
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	body := newWriter()
	whole, known := 0, 0
	for _, p := range parts {
		all := e.Local.Export(p)
		for i := range all {
			body.known(&all[i])
		}
		whole, known = whole+1, known+len(all)
		if body.buf.Len() >= pageBytes {
			break
		}
	}
	w := newWriter()
	w.array(whole)
	return join(w, known, body)
}

// join returns what w holds, and after it the array whose n elements are body.
func join(w *writer, n int, body *writer) ([]byte, error) {
	w.array(n)
	b, err := body.bytes()
	w.note(err)
	w.buf.Write(b)
	return w.bytes()
}

// partitions reads a list of partitions.
func (e *Exchange) partitions(r *reader) []int {
	parts := make([]int, r.array(e.Local.Partitions()))
	for i := range parts {
		parts[i] = int(r.int(0, int64(e.Local.Partitions()-1)))
	}
	return parts
}

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
			given := e.handPage(ctx, epoch, node, some)
			e.give(epoch, left[:given])
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

// handPage hands over as many partitions as fit a message, and returns how many
// of them the taker has.
func (e *Exchange) handPage(ctx context.Context, epoch uint64, node string, parts []int) (given int) {
	body := newWriter()
	whole := 0
	for _, p := range parts {
		all := e.Local.Export(p)
		body.uint(uint64(p))
		body.array(len(all))
		for i := range all {
			body.known(&all[i])
		}
		if whole++; body.buf.Len() >= pageBytes {
			break
		}
	}
	w := newWriter()
	w.buf.WriteByte(kindHand)
	w.uint(epoch)
	message, err := join(w, whole, body)
	if err != nil {
		e.Log.Error("a handover cannot be encoded", "err", err)
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, handFor)
	defer cancel()
	b, err := e.Transport.Exchange(ctx, node, message)
	if err != nil {
		e.Log.Debug("handover", "to", node, "err", err)
		return 0
	}
	r := newReader(b)
	given = int(r.int(0, int64(whole)))
	return given
}

// serveHand takes partitions over, in order, and answers how many it has.
func (e *Exchange) serveHand(r *reader) ([]byte, error) {
	epoch := r.uint()
	given := make([]limiter.Move, r.array(e.Local.Partitions()))
	for i := range given {
		given[i].Partition = int(r.int(0, int64(e.Local.Partitions()-1)))
		given[i].Known = make([]limiter.Known, r.array(maxKnown))
		for k := range given[i].Known {
			given[i].Known[k] = r.known()
		}
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	w := newWriter()
	w.int(int64(e.Local.Receive(epoch, given...)))
	return w.bytes()
}
