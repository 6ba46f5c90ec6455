package rest

import (
	"context"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/limiter/bucket"
)

// batchWorkers is the maximum number of concurrent checks of one batch. Concurrency
// lets the checks that other nodes decide wait together; DESIGN.md has the
// measurement that more workers are slower.
const batchWorkers = 16

// item is one check of a batch and its result.
type item struct {
	next     *item // next check of the same account
	scanner  wire.Scanner
	request  wire.CheckRequest
	check    bucket.Check
	decision bucket.Decision
	err      error
}

// batch is the memory of one batch, reused by later batches.
type batch struct {
	items []item
	heads []*item          // first check of each account
	last  map[string]*item // last check read so far, by account
	body  []byte
}

var batches = sync.Pool{New: func() any { return &batch{last: make(map[string]*item)} }}

// release returns the batch to the pool, without its strings: they point into the
// request.
func (b *batch) release() {
	for i := range b.items {
		it := &b.items[i]
		limits := it.decision.Limits[:0]
		*it = item{}
		it.decision.Limits = limits
	}
	clear(b.heads)
	b.items, b.heads = b.items[:0], b.heads[:0]
	clear(b.last)
	if cap(b.body) <= wire.MaxBody {
		batches.Put(b)
	}
}

// checkBatch decides each check independently, and the checks of one account in order.
// The index of the answer is the largest index of its decisions.
func (s *Server) checkBatch(ctx *fasthttp.RequestCtx, _ ids) error {
	var sc wire.Scanner
	sc.Reset(ctx.Request.Body())
	docs, err := wire.ParseItems(&sc, "checks")
	if err != nil {
		return err
	}
	min, err := minIndex(ctx)
	if err != nil {
		return err
	}
	b := batches.Get().(*batch)
	defer b.release()
	b.read(docs, min)
	s.decideAll(b.heads, ctx.Time())
	s.replyBatch(ctx, b)
	return nil
}

// read parses the checks and links the checks of each account in order.
func (b *batch) read(docs [][]byte, min uint64) {
	if cap(b.items) < len(docs) {
		b.items = make([]item, len(docs))
	}
	b.items = b.items[:len(docs)]
	for i := range b.items {
		it := &b.items[i]
		it.scanner.Reset(docs[i])
		r := &it.request
		if it.err = r.Parse(&it.scanner); it.err != nil {
			continue
		}
		it.check = bucket.Check{
			Account: r.Account, Model: r.Model, Category: r.Category,
			Requests: r.Requests, Tokens: r.Tokens, DryRun: r.DryRun, Reserve: r.Reserve, MinIndex: min,
		}
		if before := b.last[r.Account]; before != nil {
			before.next = it
		} else {
			b.heads = append(b.heads, it)
		}
		b.last[r.Account] = it
	}
}

// decideAll decides the checks of all accounts and waits for them.
func (s *Server) decideAll(heads []*item, since time.Time) {
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(heads) {
				return
			}
			for it := heads[i]; it != nil; it = it.next {
				s.decideItem(it, since)
			}
		}
	}
	var wg sync.WaitGroup
	for range min(len(heads), batchWorkers) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}

// decideItem decides one check. It recovers from a panic, which fails only this check:
// in a worker, a panic would end the process.
func (s *Server) decideItem(it *item, since time.Time) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("check of a batch panicked", "panic", r, "stack", string(debug.Stack()))
			it.err = errPanic
		}
	}()
	it.decision = bucket.Decision{Limits: it.decision.Limits[:0], Hit: -1}
	if it.err = s.cfg.Checker.Check(context.Background(), &it.check, &it.decision); it.err != nil {
		return
	}
	s.cfg.Metrics.Checked(it.decision.Reason, time.Since(since).Seconds())
	it.err = undecided(&it.request, &it.decision)
}

func (s *Server) replyBatch(ctx *fasthttp.RequestCtx, b *batch) {
	index := s.cfg.View.Index()
	body := append(b.body[:0], `{"decisions":[`...)
	for i := range b.items {
		if i > 0 {
			body = append(body, ',')
		}
		it := &b.items[i]
		if it.err != nil {
			p := problemOf(it.err)
			body = p.Append(body)
			continue
		}
		index = max(index, it.decision.Index)
		body = append(body, `{"status":`...)
		body = append(strconv.AppendInt(body, int64(statuses[it.decision.Reason]), 10), ',')
		body = wire.AppendDecisionMembers(body, it.request.Account, s.cfg.NodeID, &it.decision)
		body = append(body, '}')
	}
	b.body = append(body, "]}"...)
	s.header(ctx, index)
	reply(ctx, 200, wire.TypeJSON, b.body)
}
