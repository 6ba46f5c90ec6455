package rest

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

// caller is under what key a request keeps who asks.
type caller struct{}

// authenticate returns who asks, or what to answer somebody without a right
// token.
func (s *Server) authenticate(ctx *fasthttp.RequestCtx) (ledger.Caller, error) {
	token := tokenOf(&ctx.Request.Header)
	who, ok := s.cfg.Access.Who(token)
	switch {
	case ok:
		return who, nil
	case who.Name == ledger.ActorOpen:
		return who, newProblem(503, wire.Unavailable, "", "the node is starting and does not know yet who may ask")
	case len(token) == 0:
		challenge(ctx, `Bearer realm="quorate"`)
		return who, newProblem(401, wire.Unauthenticated, "", "a token is needed, as Authorization: Bearer or in "+wire.HeaderToken)
	}
	challenge(ctx, `Bearer realm="quorate", error="invalid_token"`)
	return who, newProblem(401, wire.Unauthenticated, "", "the token is not known, or was revoked")
}

// authorize is authenticate for who also needs one of the scopes.
func (s *Server) authorize(ctx *fasthttp.RequestCtx, want ledger.Scopes) (ledger.Caller, error) {
	who, err := s.authenticate(ctx)
	if err == nil {
		err = allowed(ctx, who, want)
	}
	return who, err
}

func allowed(ctx *fasthttp.RequestCtx, who ledger.Caller, want ledger.Scopes) error {
	if who.Scopes.Allow(want) {
		return nil
	}
	names := strings.Join((want | ledger.ScopeAdmin).Names(), " or ")
	challenge(ctx, `Bearer realm="quorate", error="insufficient_scope"`)
	return newProblem(403, wire.InsufficientScope, "", "this needs the scope "+names+"; the token "+who.Name+" has "+who.Scopes.String())
}

// challenge sets the header of RFC 6750.
func challenge(ctx *fasthttp.RequestCtx, v string) {
	ctx.Response.Header.SetCanonical([]byte("WWW-Authenticate"), []byte(v))
}

var bearer = []byte("Bearer ")

// tokenOf returns the token of a request, empty without one. The header of our
// own wins: behind a gateway Authorization is the end user's.
func tokenOf(h *fasthttp.RequestHeader) []byte {
	if token := h.PeekBytes(nameToken); len(token) > 0 {
		return token
	}
	v := h.PeekBytes(nameAuthorization)
	if len(v) > len(bearer) && bytes.EqualFold(v[:len(bearer)], bearer) {
		return bytes.TrimSpace(v[len(bearer):])
	}
	return nil
}

var (
	nameToken         = []byte(wire.HeaderToken)
	nameAuthorization = []byte("Authorization")
)

// by returns who asks, for the audit.
func by(ctx *fasthttp.RequestCtx) string {
	who, _ := ctx.UserValue(caller{}).(ledger.Caller)
	if who.Name == ledger.ActorOpen {
		return "" // says the same
	}
	return who.Name
}
