package exchange

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"quorate/limiter"
	"quorate/limiter/bucket"
	"quorate/limiter/codec"
)

// maxSlices is the most slices in which a partition is fetched.
const maxSlices = 1 << 16

// fetchRequest asks for what a node knows of partitions, or for one slice of the first
// partition if that is too much for one answer.
type fetchRequest struct {
	parts     []int
	slice, of int // of: 0 for the whole
}

// fetchAnswer says how much of the request it answers.
type fetchAnswer struct {
	whole   int // how many partitions, from the first
	slices  int // above 0: the answer is empty, and the first partition must be fetched in so many slices
	buckets []limiter.BucketSnapshot
}

// fetch merges what a node knows of partitions, page by page, until one is not
// answered.
func (e *Exchange) fetch(ctx context.Context, s Step) {
	q := fetchRequest{parts: s.Parts}
	for len(q.parts) > 0 {
		a, err := e.fetchPage(ctx, s, q)
		switch {
		case errors.Is(err, ErrMessage):
			e.Log.Error("the answer of a node to a fetch cannot be read", "node", s.To, "partitions", len(q.parts), "err", err)
			return
		case err != nil:
			e.Log.Warn("partitions are recovered without what one node knows", "node", s.To, "partitions", len(q.parts), "err", err)
			return
		}
		for _, k := range a.buckets {
			e.Local.MergeBucket(k)
		}
		switch {
		case a.slices > 0:
			q.slice, q.of = 0, a.slices
		case q.of > 0 && q.slice+1 < q.of:
			q.slice++
		default:
			q = fetchRequest{parts: q.parts[a.whole:]}
		}
	}
}

func (e *Exchange) fetchPage(ctx context.Context, s Step, q fetchRequest) (a fetchAnswer, err error) {
	w := newWriter()
	w.Byte(kindFetch)
	w.partitions(q.parts)
	w.Int(int64(q.slice))
	w.Int(int64(q.of))
	message, err := w.Finish()
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	b, err := e.Transport.Exchange(ctx, s.To, message)
	if err != nil {
		return a, err
	}
	r := newReader(b)
	a.whole, a.slices = int(r.IntIn(0, int64(len(q.parts)))), int(r.IntIn(0, maxSlices))
	a.buckets = codec.List(r.Reader, maxBuckets, r.bucket)
	switch err := r.End(); {
	case err != nil:
		return a, fmt.Errorf("%w: %w", ErrMessage, err)
	case q.of == 0 && (a.whole == 0) != (a.slices > 0), q.of > 0 && (a.whole != 1 || a.slices > 0):
		return a, fmt.Errorf("%w: an answer that is not of what was asked", ErrMessage)
	}
	return a, nil
}

// serveFetch answers with what this node knows of partitions, as many as fit a
// message.
func (e *Exchange) serveFetch(r *reader) ([]byte, error) {
	q := fetchRequest{parts: e.partitions(r)}
	q.slice, q.of = int(r.IntIn(0, maxSlices-1)), int(r.IntIn(0, maxSlices))
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	body, known, whole, slices := newWriter(), 0, 0, 0
	for _, p := range q.parts {
		before := body.Len()
		all := e.Local.ExportMatching(p, func(id bucket.ID) bool {
			return q.of == 0 || maphash.Comparable(e.seed, id)%uint64(q.of) == uint64(q.slice)
		})
		for i := range all {
			body.bucket(&all[i])
		}
		if size := body.Len() - before; q.of == 0 && before+size > pageBytes {
			body.Truncate(before)
			if whole == 0 { // half full on average, so that none is too large
				slices = min(maxSlices, 2*(size/pageBytes+1))
			}
			break
		}
		if whole, known = whole+1, known+len(all); q.of > 0 {
			break
		}
	}
	w := newWriter()
	w.Int(int64(whole))
	w.Int(int64(slices))
	w.append(known, body)
	return w.Finish()
}

// partitions reads a list of partitions.
func (e *Exchange) partitions(r *reader) []int {
	parts := make([]int, r.ArrayUpTo(e.Local.Partitions()))
	for i := range parts {
		parts[i] = int(r.IntIn(0, int64(e.Local.Partitions()-1)))
	}
	return parts
}
