package exchange

import (
	"context"
	"fmt"
	"time"

	"quorate/limiter"
)

// tellFor is how long an answer to tallies may take.
const tellFor = time.Second

// tell has all who should know hear what this node has admitted as a judge, and
// the owners have not absorbed.
func (e *Exchange) tell(ctx context.Context) {
	byNode := map[string][]limiter.Tally{}
	for _, t := range e.Local.Tallies() {
		for _, node := range e.Local.HoldersOf(t.Account) {
			if node == e.Node {
				e.absorbed(t, e.Local.Hear(t))
			} else if node != "" && len(byNode[node]) < maxBatch {
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

func (e *Exchange) tellNode(ctx context.Context, node string, tallies []limiter.Tally) {
	w := newWriter()
	w.buf.WriteByte(kindTallies)
	w.array(len(tallies))
	for i := range tallies {
		w.tally(&tallies[i])
	}
	message, err := w.bytes()
	if err != nil {
		e.Log.Error("tallies cannot be encoded", "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellFor)
	defer cancel()
	b, err := e.Transport.Exchange(ctx, node, message)
	if err != nil {
		return // told again at the next beat
	}
	r := newReader(b)
	if r.array(maxBatch) != len(tallies) {
		return
	}
	for _, t := range tallies {
		if units := r.units(); r.err == nil {
			e.absorbed(t, units)
		}
	}
}

// serveTallies hears tallies and answers how much of each the owner has
// absorbed.
func (e *Exchange) serveTallies(r *reader) ([]byte, error) {
	tallies := make([]limiter.Tally, r.array(maxBatch))
	for i := range tallies {
		tallies[i] = r.tally()
	}
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
