package rest

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

// callerKey is the key of a request's user value that holds the ledger.Caller.
type callerKey struct{}

// authenticate returns the caller that the request's token belongs to, or a problem
// if the token is missing or invalid.
func (s *Server) authenticate(ctx *fasthttp.RequestCtx) (ledger.Caller, error) {
	token := tokenOf(&ctx.Request.Header)
	who, ok := s.cfg.Access.Authenticate(token)
	switch {
	case ok:
		return who, nil
	case who.Name == ledger.ActorOpen:
		return who, newProblem(503, wire.Unavailable, "", "the node is starting and has not read all tokens yet")
	case len(token) == 0:
		challenge(ctx, `Bearer realm="quorate"`)
		return who, newProblem(401, wire.Unauthenticated, "", "a token is required, as Authorization: Bearer or in "+wire.HeaderToken)
	}
	challenge(ctx, `Bearer realm="quorate", error="invalid_token"`)
	return who, newProblem(401, wire.Unauthenticated, "", "the token is unknown or was revoked")
}

// authorize authenticates the caller and checks that it has one of the scopes.
func (s *Server) authorize(ctx *fasthttp.RequestCtx, want ledger.Scopes) (ledger.Caller, error) {
	who, err := s.authenticate(ctx)
	if err == nil {
		err = checkScope(ctx, who, want)
	}
	return who, err
}

// checkScope returns a problem unless the caller has one of the scopes, or admin.
func checkScope(ctx *fasthttp.RequestCtx, who ledger.Caller, want ledger.Scopes) error {
	if who.Scopes.Allow(want) {
		return nil
	}
	names := strings.Join((want | ledger.ScopeAdmin).Names(), " or ")
	challenge(ctx, `Bearer realm="quorate", error="insufficient_scope"`)
	return newProblem(403, wire.InsufficientScope, "", "this needs the scope "+names+"; the token "+who.Name+" has "+who.Scopes.String())
}

// challenge sets the WWW-Authenticate header (RFC 6750).
func challenge(ctx *fasthttp.RequestCtx, v string) {
	ctx.Response.Header.SetCanonical([]byte("WWW-Authenticate"), []byte(v))
}

var bearer = []byte("Bearer ")

// tokenOf returns the token of a request, empty if it has none. X-Quorate-Token takes
// precedence: behind a gateway, Authorization belongs to the end user.
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

// callerName returns the name of the caller for the audit.
func callerName(ctx *fasthttp.RequestCtx) string {
	who, _ := ctx.UserValue(callerKey{}).(ledger.Caller)
	if who.Name == ledger.ActorOpen {
		return "" // the audit shows it as ActorOpen
	}
	return who.Name
}
