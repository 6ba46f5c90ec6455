package rest

import (
	"context"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// authz decides a check for a gateway. The check is in the query or in headers, the
// decision in the status and in headers. A gateway may pass the body of a denial on to
// its customer.
func (s *Server) authz(ctx *fasthttp.RequestCtx) {
	c := s.calls.Get().(*call)
	defer func() {
		c.check = bucket.Check{}
		s.calls.Put(c)
	}()
	deny, err := denyWith(ctx)
	if err == nil {
		_, err = s.authorize(ctx, ledger.ScopeCheck)
	}
	if err == nil {
		err = s.readAuthz(ctx, c)
	}
	if err == nil {
		c.decision = bucket.Decision{Limits: c.decision.Limits[:0], Hit: -1}
		if err = s.cfg.Checker.Check(context.Background(), &c.check, &c.decision); err == nil {
			s.cfg.Metrics.Checked(c.decision.Reason, time.Since(ctx.Time()).Seconds())
			err = undecided(&c.request, &c.decision)
		}
	}
	h := &ctx.Response.Header
	if err != nil {
		s.common(ctx)
		p := problemOf(err)
		if p.Code == wire.Internal {
			s.log.Error("authz failed", "err", err)
		}
		if p.Code == wire.Overloaded {
			h.Set(wire.HeaderRetryAfter, strconv.Itoa(overloadedSeconds))
		}
		h.Set(wire.HeaderReason, string(p.Code))
		if p.Field != "" {
			p.Detail = p.Field + ": " + p.Detail
		}
		s.denied(ctx, p.Status, deny, p.Detail, "api_error", string(p.Code))
		lingerIfUnread(ctx)
		return
	}
	d := &c.decision
	s.header(ctx, d.Index)
	s.rateHeaders(ctx, c)
	h.Set(wire.HeaderReason, d.Reason.String())
	if d.Reservation != "" {
		h.Set(wire.HeaderReservation, d.Reservation)
	}
	if d.Reason == bucket.OK {
		ctx.Response.SetStatusCode(200)
		return
	}
	message, kind, code := denialMessage(d)
	s.denied(ctx, statuses[d.Reason], deny, message, kind, code)
}

// denied answers with an error in the format of OpenAI's API. If deny is not 0, it
// replaces the status, which is then in a header.
func (s *Server) denied(ctx *fasthttp.RequestCtx, status, deny int, message, kind, code string) {
	if deny != 0 {
		ctx.Response.Header.Set(wire.HeaderStatus, strconv.Itoa(status))
		status = deny
	}
	body := append([]byte{}, `{"error":{"message":`...)
	body = wire.AppendString(body, message)
	body = append(body, `,"type":`...)
	body = wire.AppendString(body, kind)
	body = append(body, `,"code":`...)
	body = wire.AppendString(body, code)
	reply(ctx, status, wire.TypeJSON, append(body, "}}"...))
}

// denialMessage returns a message about a denial for the customer. It names no node.
func denialMessage(d *bucket.Decision) (message, kind, code string) {
	code = d.Reason.String()
	switch d.Reason {
	case bucket.Suspended:
		return "This account is suspended.", "permission_error", code
	case bucket.FreeTier, bucket.TierAccess:
		return "This requires tier " + strconv.Itoa(d.RequiredTier) + ", which the account reaches when it has paid $" +
			ledger.Money(d.SpendNeeded).String() + " more.", "permission_error", code
	case bucket.UsageLimit:
		return "The account's usage limit is reached. Raise it, pay the bill or buy credits.", "insufficient_quota", code
	}
	kind = "requests"
	name := ""
	if d.Hit >= 0 && d.Hit < len(d.Limits) {
		kind, name = d.Limits[d.Hit].Unit.String(), " ("+d.Limits[d.Hit].Name+")"
	}
	if d.NeverFits {
		return "The request is larger than the rate limit" + name + " allows at once.", kind, "rate_limit_exceeded"
	}
	after := time.Duration(wire.Ceil(d.RetryAfter, time.Millisecond)) * time.Millisecond
	return "Rate limit" + name + " reached. Try again in " + after.String() + ".", kind, "rate_limit_exceeded"
}

// denyWith returns the value of ?deny=403, which is for gateways that do not support
// 429, or 0.
func denyWith(ctx *fasthttp.RequestCtx) (int, error) {
	switch v := string(ctx.QueryArgs().Peek("deny")); {
	case !ctx.QueryArgs().Has("deny"):
		return 0, nil
	case v == "403":
		return 403, nil
	}
	return 0, &wire.FieldError{Field: "deny", Detail: "want 403, or omit it"}
}

// readAuthz reads the check. The query takes precedence over headers, which clients
// can forge if a gateway passes them on.
func (s *Server) readAuthz(ctx *fasthttp.RequestCtx, c *call) (err error) {
	get := func(name, header string) (string, bool) {
		if args := ctx.QueryArgs(); args.Has(name) {
			return string(args.Peek(name)), true
		}
		v := ctx.Request.Header.Peek(header)
		return string(v), len(v) > 0
	}
	r := wire.CheckRequest{Requests: wire.DefaultRequests}
	r.Account, _ = get("account", wire.HeaderAccount)
	r.Model, _ = get("model", wire.HeaderModel)
	r.Category, _ = get("category", wire.HeaderCategory)
	for _, n := range []struct {
		name, header string
		to           *int64
	}{{"requests", wire.HeaderRequests, &r.Requests}, {"tokens", wire.HeaderTokens, &r.Tokens}} {
		v, ok := get(n.name, n.header)
		if !ok {
			continue
		}
		count, err := strconv.ParseUint(v, 10, 63)
		if err != nil || count > bucket.MaxCost {
			return &wire.FieldError{Field: n.name, Detail: "want 0 to " + strconv.Itoa(bucket.MaxCost)}
		}
		*n.to = int64(count)
	}
	if v, ok := get("reserve", wire.HeaderReserve); ok {
		if v != "true" && v != "false" {
			return &wire.FieldError{Field: "reserve", Detail: "want true or false"}
		}
		r.Reserve = v == "true"
	}
	if err := r.Validate(); err != nil {
		return err
	}
	c.request = r
	c.check = bucket.Check{
		Account: r.Account, Model: r.Model, Category: r.Category,
		Requests: r.Requests, Tokens: r.Tokens, Reserve: r.Reserve,
	}
	if c.check.MinIndex, err = minIndex(ctx); err == nil && (ctx.IsGet() || ctx.IsHead()) {
		c.check.MinIndex, err = s.consistency(ctx, c.check.MinIndex)
	}
	return err
}
