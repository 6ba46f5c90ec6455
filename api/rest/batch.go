package rest

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/limiter/bucket"
)

// batchWorkers bounds how many checks of one batch are under way at once: those
// that another node decides wait for it together.
const batchWorkers = 32

// item is one check of a batch and what became of it.
type item struct {
	next     *item // of the same account
	request  wire.CheckRequest
	scanner  wire.Scanner
	decision bucket.Decision
	err      error
}

// checkBatch decides checks each on its own; those of one account in order. The
// index of the answer is the largest that a decision was made at.
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
	items := make([]item, len(docs))
	var heads []*item // the first check of each account
	last := make(map[string]*item, len(docs))
	for i := range items {
		it := &items[i]
		it.scanner.Reset(docs[i])
		if it.err = it.request.Parse(&it.scanner); it.err != nil {
			continue
		}
		if before := last[it.request.Account]; before != nil {
			before.next = it
		} else {
			heads = append(heads, it)
		}
		last[it.request.Account] = it
	}
	s.decideAll(heads, min, ctx.Time())
	s.replyBatch(ctx, items)
	return nil
}

// decideAll decides the checks behind every head. It returns when all are.
func (s *Server) decideAll(heads []*item, min uint64, since time.Time) {
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(heads) {
				return
			}
			for it := heads[i]; it != nil; it = it.next {
				s.decideItem(it, min, since)
			}
		}
	}
	var wg sync.WaitGroup
	for range min1(len(heads), batchWorkers) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}

func min1(a, b int) int { return max(1, min(a, b)) }

func (s *Server) decideItem(it *item, min uint64, since time.Time) {
	r := &it.request
	check := bucket.Check{
		Account: r.Account, Model: r.Model, Category: r.Category,
		Requests: r.Requests, Tokens: r.Tokens, DryRun: r.DryRun, Reserve: r.Reserve, MinIndex: min,
	}
	it.decision.Hit = -1
	if it.err = s.cfg.Checker.Check(context.Background(), &check, &it.decision); it.err != nil {
		return
	}
	s.cfg.Metrics.Checked(it.decision.Reason, time.Since(since).Seconds())
	it.err = undecided(r, &it.decision)
}

func (s *Server) replyBatch(ctx *fasthttp.RequestCtx, items []item) {
	index := s.cfg.View.Index()
	body := append(make([]byte, 0, 512*len(items)+32), `{"decisions":[`...)
	for i := range items {
		if i > 0 {
			body = append(body, ',')
		}
		it := &items[i]
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
	s.header(ctx, index)
	reply(ctx, 200, wire.TypeJSON, append(body, "]}"...))
}
