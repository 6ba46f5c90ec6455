package rest

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

// overloadedSeconds is the Retry-After of an overloaded node in seconds: long enough
// to drain a queue, short enough not to leave the node idle.
const overloadedSeconds = 1

// problemOf maps every error of the node to the problem in its answer.
func problemOf(err error) wire.Problem {
	var field *wire.FieldError
	if errors.As(err, &field) {
		return wire.Problem{Status: 400, Code: wire.InvalidRequest, Detail: field.Detail, Field: field.Field}
	}
	var faults ledger.Faults
	if errors.As(err, &faults) {
		code := wire.InvalidPolicy
		if errors.Is(err, errOverrides) {
			code = wire.InvalidOverrides
		}
		return wire.Problem{Status: 422, Code: code, Detail: fmt.Sprintf("%d errors; nothing was changed", len(faults)), Errors: faults}
	}
	var p *problemError
	if errors.As(err, &p) {
		return p.problem
	}
	for _, m := range []struct {
		err    error
		status int
		code   wire.Code
	}{
		{ledger.ErrNoQuorum, 503, wire.NoQuorum},
		{ledger.ErrOutcomeUnknown, 503, wire.OutcomeUnknown},
		{ledger.ErrOverloaded, 503, wire.Overloaded},
		{ledger.ErrBehind, 503, wire.Behind},
		{ledger.ErrRestoring, 503, wire.Unavailable},
		{ledger.ErrNoRestore, 503, wire.Unavailable},
		{ledger.ErrUpgrade, 409, wire.UpgradeUnfinished},
		{ledger.ErrBadBackup, 422, wire.InvalidBackup},
		{ErrUnknownNode, 404, wire.UnknownNode},
		{ErrLastNode, 409, wire.LastNode},
		{ErrQuorumLoss, 409, wire.QuorumLoss},
		{ErrUnfit, 409, wire.UnfitNode},
		{ErrUnderWay, 503, wire.Unavailable},
		{ErrDraining, 503, wire.Unavailable},
		{ledger.ErrKeyReused, 409, wire.KeyReused},
		{ledger.ErrKeyExpired, 409, wire.KeyExpired},
		{ledger.ErrUnknownReservation, 404, wire.UnknownReservation},
		{ledger.ErrIssuedInFuture, 422, wire.IssuedInFuture},
		{ledger.ErrNotEmpty, 409, wire.NotEmpty},
		{ledger.ErrUnknownAccount, 404, wire.UnknownAccount},
		{ledger.ErrUnknownToken, 404, wire.NotFound},
		{ledger.ErrTokenExists, 409, wire.TokenExists},
		{ledger.ErrLastAdmin, 409, wire.LastAdmin},
		{ledger.ErrTooManyTokens, 422, wire.TooManyTokens},
		{ledger.ErrRevision, 412, wire.RevisionMismatch},
		{ledger.ErrInvalidPolicy, 422, wire.InvalidPolicy},
		{ledger.ErrPastExpiry, 422, wire.InvalidOverrides},
		{ledger.ErrInsufficientCredits, 422, wire.InsufficientCredits},
		{ledger.ErrOverflow, 422, wire.Overflow},
		// A proposal whose context ended may still be applied.
		{context.DeadlineExceeded, 503, wire.OutcomeUnknown},
		{context.Canceled, 503, wire.OutcomeUnknown},
	} {
		if errors.Is(err, m.err) {
			return wire.Problem{Status: m.status, Code: m.code, Detail: m.err.Error()}
		}
	}
	return wire.Problem{Status: 500, Code: wire.Internal, Detail: "internal error; see the log of the node"}
}

// errOverrides marks the errors of a list of overrides.
var errOverrides = errors.New("invalid overrides")

// problemError is an error that already has the form of a problem.
type problemError struct{ problem wire.Problem }

func (e *problemError) Error() string { return e.problem.Detail }

func newProblem(status int, code wire.Code, field, detail string) error {
	return &problemError{wire.Problem{Status: status, Code: code, Field: field, Detail: detail}}
}

// fail answers with the problem of err.
func (s *Server) fail(ctx *fasthttp.RequestCtx, err error) {
	p := problemOf(err)
	if p.Code == wire.Internal {
		s.log.Error("request failed", "path", string(ctx.Path()), "err", err)
	}
	if p.Code == wire.Overloaded {
		ctx.Response.Header.Set(wire.HeaderRetryAfter, strconv.Itoa(overloadedSeconds))
	}
	reply(ctx, p.Status, wire.TypeProblem, p.Append(nil))
	lingerIfUnread(ctx)
}

// lingerIfUnread makes the connection linger if the request has a body that was not
// read.
func lingerIfUnread(ctx *fasthttp.RequestCtx) {
	if c, ok := ctx.Conn().(*conn); ok && ctx.Request.Header.Peek(bodyLength) != nil {
		c.linger.Store(true)
	}
}

// reply sets the status, the content type and the body of the answer.
func reply(ctx *fasthttp.RequestCtx, status int, contentType string, body []byte) {
	ctx.Response.SetStatusCode(status)
	ctx.Response.Header.SetContentType(contentType)
	ctx.Response.SetBody(body)
}
