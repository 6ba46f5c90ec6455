package exchange

import (
	"context"
	"fmt"
	"time"

	"quorate/limiter"
)

const (
	// tellFor is how long an answer to tallies may take.
	tellFor = time.Second
	// maxTold bounds the tallies that one node is told at a beat; the others are
	// told when some are absorbed.
	maxTold = 1 << 16
)

// tell has all who should know hear what this node has admitted as a judge, and
// the owners have not absorbed.
func (e *Exchange) tell(ctx context.Context) {
	byNode := map[string][]limiter.Tally{}
	for _, t := range e.Local.Tallies() {
		for _, node := range e.Local.HoldersOf(t.Account) {
			if node == e.Node {
				e.absorbed(t, e.Local.Hear(t))
			} else if node != "" && len(byNode[node]) < maxTold {
				byNode[node] = append(byNode[node], t)
			}
		}
	}
	for node, tallies := range byNode {
		d := duty{"tell", node}
		if e.begin(d) && !e.spawn(func(context.Context) {
			defer e.done(d)
			e.tellNode(ctx, node, tallies)
		}) {
			e.done(d)
		}
	}
}

func (e *Exchange) absorbed(t limiter.Tally, units int64) {
	if units > 0 {
		e.Local.Absorbed(t, units)
	}
}

// tellNode tells a node tallies in as many messages as they need. What it does not
// hear is told again at a later beat.
func (e *Exchange) tellNode(ctx context.Context, node string, tallies []limiter.Tally) {
	for len(tallies) > 0 {
		body, n := newWriter(), 0
		for ; n < min(len(tallies), maxBatch) && body.buf.Len() < pageBytes; n++ {
			body.tally(&tallies[n])
		}
		if !e.tellSome(ctx, node, tallies[:n], body) {
			return
		}
		tallies = tallies[n:]
	}
}

// tellSome tells tallies that are encoded already, and reports whether the node has
// heard them.
func (e *Exchange) tellSome(ctx context.Context, node string, tallies []limiter.Tally, body *writer) bool {
	w := newWriter()
	w.buf.WriteByte(kindTallies)
	w.append(len(tallies), body)
	message, err := w.bytes()
	if err != nil {
		e.Log.Error("tallies cannot be encoded", "err", err)
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, tellFor)
	defer cancel()
	b, err := e.Transport.Exchange(ctx, node, message)
	if err != nil {
		return false
	}
	r := newReader(b)
	if r.array(maxBatch) != len(tallies) {
		return false
	}
	for _, t := range tallies {
		if units := r.units(); r.err == nil {
			e.absorbed(t, units)
		}
	}
	return r.end() == nil
}

// serveTallies hears tallies and answers how much of each the owner has
// absorbed.
func (e *Exchange) serveTallies(r *reader) ([]byte, error) {
	tallies := list(r, maxBatch, r.tally)
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("tallies: %w", err)
	}
	w := newWriter()
	w.array(len(tallies))
	for i := range tallies {
		w.int(max(0, e.Local.Hear(tallies[i])))
	}
	return w.bytes()
}
