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

// call is the memory of one check, reused by later checks.
type call struct {
	scanner  wire.Scanner
	request  wire.CheckRequest
	check    bucket.Check
	decision bucket.Decision
	body     []byte
	value    []byte // of the header being written
}

// maxKept is the maximum capacity, in bytes, of a buffer that a call keeps.
const maxKept = 16 << 10

var statuses = [bucket.NumReasons]int{
	bucket.OK:           200,
	bucket.Suspended:    403,
	bucket.FreeTier:     403,
	bucket.TierAccess:   403,
	bucket.UsageLimit:   402,
	bucket.RateLimited:  429,
	bucket.Unavailable:  503,
	bucket.UnknownModel: 404,
}

// check answers POST /v1/check. It allocates nothing.
func (s *Server) check(ctx *fasthttp.RequestCtx) {
	if _, err := s.authorize(ctx, ledger.ScopeCheck); err != nil {
		s.common(ctx)
		s.fail(ctx, err)
		return
	}
	c := s.calls.Get().(*call)
	if err := s.decide(ctx, c); err != nil {
		s.common(ctx)
		s.fail(ctx, err)
	}
	// The strings point into the request and must not outlive it.
	c.scanner.Reset(nil)
	c.request, c.check = wire.CheckRequest{}, bucket.Check{}
	if cap(c.body) <= maxKept {
		s.calls.Put(c)
	}
}

func (s *Server) decide(ctx *fasthttp.RequestCtx, c *call) (err error) {
	c.scanner.Reset(ctx.Request.Body())
	if err := c.request.Parse(&c.scanner); err != nil {
		return err
	}
	r := &c.request
	c.check = bucket.Check{
		Account: r.Account, Model: r.Model, Category: r.Category,
		Requests: r.Requests, Tokens: r.Tokens, DryRun: r.DryRun, Reserve: r.Reserve,
	}
	if c.check.MinIndex, err = minIndex(ctx); err != nil {
		return err
	}
	d := &c.decision
	*d = bucket.Decision{Limits: d.Limits[:0], Hit: -1}
	// No deadline: creating one costs more than a decision, and each hop of a check
	// has its own.
	if err := s.cfg.Checker.Check(context.Background(), &c.check, d); err != nil {
		return err
	}
	s.cfg.Metrics.Checked(d.Reason, time.Since(ctx.Time()).Seconds())
	if err := undecided(r, d); err != nil {
		return err
	}
	s.answer(ctx, c)
	return nil
}

// undecided returns the problem of a check that was not decided, nil if it was.
func undecided(r *wire.CheckRequest, d *bucket.Decision) error {
	switch d.Reason {
	case bucket.Unavailable:
		return newProblem(503, wire.Unavailable, "", "the bucket's owner is unreachable, and the policy allows no fallback")
	case bucket.UnknownModel:
		return unknownModel(r)
	}
	return nil
}

func unknownModel(r *wire.CheckRequest) error {
	if r.Category != "" {
		return newProblem(404, wire.UnknownModel, "category", "the policy has no rule for the model, and no category "+strconv.Quote(r.Category))
	}
	return newProblem(404, wire.UnknownModel, "model", "the policy has no rule for the model "+strconv.Quote(r.Model)+", and the check has no category")
}

// answer writes the decision as the answer.
func (s *Server) answer(ctx *fasthttp.RequestCtx, c *call) {
	d := &c.decision
	s.header(ctx, d.Index)
	s.rateHeaders(ctx, c)
	c.body = wire.AppendDecision(c.body[:0], c.check.Account, s.cfg.NodeID, d)
	h := &ctx.Response.Header
	h.SetStatusCode(statuses[d.Reason])
	h.SetContentTypeBytes(typeJSON)
	ctx.Response.SetBody(c.body)
}

// rateHeaders sets the headers about limits and retries.
func (s *Server) rateHeaders(ctx *fasthttp.RequestCtx, c *call) {
	d, h := &c.decision, &ctx.Response.Header
	switch d.Reason {
	case bucket.OK:
	case bucket.RateLimited:
		if d.NeverFits {
			h.SetCanonical(nameShouldRetry, valueFalse)
			break
		}
		c.value = strconv.AppendInt(c.value[:0], wire.Ceil(d.RetryAfter, time.Second), 10)
		h.SetCanonical(nameRetryAfter, c.value)
		c.value = strconv.AppendInt(c.value[:0], wire.Ceil(d.RetryAfter, time.Millisecond), 10)
		h.SetCanonical(nameRetryAfterMS, c.value)
	default:
		h.SetCanonical(nameShouldRetry, valueFalse)
		return
	}
	if len(d.Limits) == 0 {
		return
	}
	c.value = wire.AppendRateLimitPolicy(c.value[:0], d.Limits)
	h.SetCanonical(nameRateLimitPolicy, c.value)
	c.value = wire.AppendRateLimit(c.value[:0], d)
	h.SetCanonical(nameRateLimit, c.value)
}

// Header names for SetCanonical, which keeps the spelling; Set would write Ratelimit.
var (
	nameRateLimit       = []byte(wire.HeaderRateLimit)
	nameRateLimitPolicy = []byte(wire.HeaderRateLimitPolicy)
	nameRetryAfter      = []byte(wire.HeaderRetryAfter)
	nameRetryAfterMS    = []byte(wire.HeaderRetryAfterMS)
	nameShouldRetry     = []byte(wire.HeaderShouldRetry)
	valueFalse          = []byte("false")
	typeJSON            = []byte(wire.TypeJSON)
)
