package rest

import (
	"context"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/limiter/bucket"
)

// explain answers with the decision that a check would get, and the rules that lead to
// it.
func (s *Server) explain(ctx *fasthttp.RequestCtx, _ ids) error {
	args := ctx.QueryArgs()
	get := func(name string) string { return string(args.Peek(name)) }
	req := wire.CheckRequest{Account: get("account"), Model: get("model"), Category: get("category"), Requests: 1, DryRun: true}
	if err := req.Validate(); err != nil {
		return err
	}
	check := bucket.Check{Account: req.Account, Model: req.Model, Category: req.Category, Requests: 1, DryRun: true}
	var err error
	if check.MinIndex, err = minIndex(ctx); err != nil {
		return err
	}
	if args.Has("consistency") {
		// This node has waited for the index; the deciding node must wait too.
		check.MinIndex = max(check.MinIndex, s.cfg.View.Index())
	}
	d := bucket.Decision{Hit: -1}
	if err := s.cfg.Checker.Check(context.Background(), &check, &d); err != nil {
		return err
	}
	if err := undecided(&req, &d); err != nil {
		return err
	}
	a, table := s.cfg.View.Account(req.Account), s.cfg.View.Table()
	body := append([]byte{}, `{"decision":`...)
	body = wire.AppendDecision(body, req.Account, s.cfg.NodeID, &d)
	body = wire.AppendExplanation(body, table.Explain(a, &check), d.Limits, table.Standing(a))
	s.header(ctx, max(d.Index, s.cfg.View.Index()))
	reply(ctx, 200, wire.TypeJSON, append(body, '}'))
	return nil
}
