package rest

import (
	"context"
	"errors"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

// indexTimeout bounds the wait for X-Quorate-Min-Index.
const indexTimeout = 2 * time.Second

// ids are the segments of a path that match {} in its pattern, still encoded.
type ids = [2]string

// handler answers one request, or returns an error for fail to answer.
type handler func(s *Server, ctx *fasthttp.RequestCtx, ids ids) error

// route is a path, the handlers of its methods, and the scopes that they require:
// read for GET and HEAD, write for all other methods. A method without a scope
// requires admin. HEAD is GET without the body.
type route struct {
	path                          string
	read, write                   ledger.Scopes
	open                          bool // needs no token
	get, post, put, patch, remove handler
}

// The scopes of a route.
const (
	scopeCheck  = ledger.ScopeCheck
	scopeLedger = ledger.ScopeLedger
	scopeRead   = ledger.ScopeRead
	scopeAdmin  = ledger.ScopeAdmin
	scopeAny    = scopeCheck | scopeLedger | scopeRead
)

// routes contains every path except /v1/authz. handle serves /v1/authz, for all
// methods, and POST /v1/check before it looks for a route.
var routes = []route{
	{path: "/v1/check"},
	{path: "/v1/check/batch", write: scopeCheck, post: (*Server).checkBatch},
	{path: "/v1/settle", write: scopeCheck, post: (*Server).settle},
	{path: "/v1/release", write: scopeCheck, post: (*Server).release},
	{path: "/v1/explain", read: scopeCheck | scopeRead, get: (*Server).explain},
	{path: "/v1/accounts", read: scopeRead, get: (*Server).listAccounts},
	{path: "/v1/accounts/{}", read: scopeRead, write: scopeAdmin, get: (*Server).getAccount, patch: (*Server).patchAccount, remove: (*Server).deleteAccount},
	{path: "/v1/accounts/{}/ledger", write: scopeLedger, post: (*Server).postEntry},
	{path: "/v1/accounts/{}/ledger/{}", read: scopeLedger | scopeRead, get: (*Server).getEntry},
	{path: "/v1/ledger", write: scopeLedger, post: (*Server).postBulk},
	{path: "/v1/policy", read: scopeRead, write: scopeAdmin, get: (*Server).getPolicy, put: (*Server).putPolicy},
	{path: "/v1/policy/validate", write: scopeRead, post: (*Server).validatePolicy},
	{path: "/v1/tokens", read: scopeAdmin, write: scopeAdmin, get: (*Server).listTokens, post: (*Server).postToken},
	{path: "/v1/tokens/{}", read: scopeAdmin, write: scopeAdmin, get: (*Server).getToken, remove: (*Server).deleteToken},
	{path: "/v1/audit", read: scopeAdmin, get: (*Server).getAudit},
	{path: "/v1/cluster", read: scopeRead, get: (*Server).getCluster},
	{path: "/v1/cluster/nodes/{}/remove", write: scopeAdmin, post: (*Server).removeNode},
	{path: "/v1/cluster/transfer-leadership", write: scopeAdmin, post: (*Server).transferLeadership},
	{path: "/v1/cluster/drain", write: scopeAdmin, post: (*Server).drain},
	{path: backupPath, read: scopeAdmin, get: (*Server).backup},
	{path: restorePath, write: scopeAdmin, post: (*Server).restore},
	{path: "/livez", open: true, get: (*Server).livez},
	{path: "/readyz", open: true, get: (*Server).readyz},
	{path: "/metrics", read: scopeRead, get: (*Server).metrics},
	{path: "/openapi.yaml", read: scopeAny, get: (*Server).openAPI},
}

// handler returns the handler of a method, nil if there is none.
func (r *route) handler(method string) handler {
	switch method {
	case "GET", "HEAD":
		return r.get
	case "POST":
		return r.post
	case "PUT":
		return r.put
	case "PATCH":
		return r.patch
	case "DELETE":
		return r.remove
	}
	return nil
}

// allow lists the methods of the path.
func (r *route) allow() string {
	var list []string
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		if r.handler(m) != nil || m == "POST" && r.path == string(checkPath) {
			list = append(list, m)
		}
	}
	return strings.Join(list, ", ")
}

var (
	checkPath = []byte("/v1/check")
	authzPath = []byte("/v1/authz")
)

// scope returns the scopes that a method requires.
func (r *route) scope(method string) ledger.Scopes {
	if method == "GET" || method == "HEAD" {
		return r.read
	}
	return r.write
}

// handle answers every request. If a handler panics, only its request fails.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	busy := s.busy.Add(1)
	defer func() {
		s.busy.Add(-1)
		if r := recover(); r != nil {
			s.log.Error("request handler panicked", "path", string(ctx.Path()), "panic", r, "stack", string(debug.Stack()))
			ctx.Response.Reset()
			s.common(ctx)
			s.fail(ctx, errPanic)
		}
	}()
	// PathOriginal, because fasthttp decodes and cleans Path: an id with %2F
	// in it would become two segments.
	path := ctx.URI().PathOriginal()
	if busy > int64(s.cfg.MaxRequests) && !isOpen(path) {
		s.common(ctx)
		s.fail(ctx, ledger.ErrOverloaded)
		return
	}
	if ctx.IsPost() && string(path) == string(checkPath) {
		s.check(ctx)
		return
	}
	if string(path) == string(authzPath) {
		s.authz(ctx)
		return
	}
	s.common(ctx)
	if err := s.route(ctx, string(path)); err != nil {
		s.fail(ctx, err)
	}
}

// isOpen reports whether the path needs no token and is exempt from MaxRequests.
func isOpen(path []byte) bool {
	r, _ := find(string(path))
	return r != nil && r.open
}

var errPanic = errors.New("panic")

// common sets the headers of every answer.
func (s *Server) common(ctx *fasthttp.RequestCtx) { s.header(ctx, s.cfg.View.Index()) }

func (s *Server) header(ctx *fasthttp.RequestCtx, index uint64) {
	var digits [20]byte
	h := &ctx.Response.Header
	h.SetCanonical(nameCacheControl, noStore)
	h.SetCanonical(nameIndex, strconv.AppendUint(digits[:0], index, 10))
}

var (
	nameCacheControl = []byte("Cache-Control")
	noStore          = []byte("no-store")
	nameIndex        = []byte(wire.HeaderIndex)
)

// find returns the route of a path, nil if there is none.
func find(path string) (*route, ids) {
	for i := range routes {
		if ids, ok := match(routes[i].path, path); ok {
			return &routes[i], ids
		}
	}
	return nil, ids{}
}

// route answers all paths that handle does not answer itself. It authenticates and
// authorizes the caller before anything else, also for a path that does not exist,
// so that only callers with a valid token learn which paths exist.
func (s *Server) route(ctx *fasthttp.RequestCtx, path string) error {
	r, ids := find(path)
	method := string(ctx.Method())
	if r == nil || !r.open {
		who, err := s.authenticate(ctx)
		if err == nil && r != nil && r.handler(method) != nil {
			err = checkScope(ctx, who, r.scope(method))
		}
		if err != nil {
			return err
		}
		ctx.SetUserValue(callerKey{}, who)
	}
	min, err := minIndex(ctx)
	if err != nil {
		return err
	}
	if r == nil {
		return newProblem(404, wire.NotFound, "", "no such path")
	}
	h := r.handler(method)
	if h == nil {
		ctx.Response.Header.Set("Allow", r.allow())
		return newProblem(405, wire.MethodNotAllowed, "", "this path accepts "+r.allow())
	}
	if ctx.IsGet() || ctx.IsHead() {
		if min, err = s.consistency(ctx, min); err != nil {
			return err
		}
	}
	if err := s.await(ctx, min); err != nil {
		return err
	}
	return h(s, ctx, ids)
}

// strongTimeout bounds the read of the newest index for consistency=strong.
const strongTimeout = 5 * time.Second

// consistency returns the index that a read must wait for: at least min, and with
// consistency=strong an index that covers every write acknowledged before the
// request.
func (s *Server) consistency(ctx *fasthttp.RequestCtx, min uint64) (uint64, error) {
	args := ctx.QueryArgs()
	if !args.Has("consistency") {
		return min, nil
	}
	if string(args.Peek("consistency")) != "strong" {
		return 0, &wire.FieldError{Field: "consistency", Detail: "want strong, or omit it"}
	}
	limited, cancel := context.WithTimeout(context.Background(), strongTimeout)
	defer cancel()
	index, err := s.cfg.Reader.ReadIndex(limited)
	if err != nil {
		return 0, err
	}
	return max(min, index), nil
}

// match reports whether the path matches the pattern, and returns the segments that
// match {}, still encoded.
func match(pattern, path string) (ids ids, ok bool) {
	n := 0
	for {
		want, restOfPattern, more := strings.Cut(pattern, "/")
		got, restOfPath, moreOfPath := strings.Cut(path, "/")
		if more != moreOfPath {
			return ids, false
		}
		if want == "{}" {
			if got == "" {
				return ids, false
			}
			ids[n] = got
			n++
		} else if plain, err := url.PathUnescape(got); err != nil || plain != want {
			return ids, false
		}
		if !more {
			return ids, true
		}
		pattern, path = restOfPattern, restOfPath
	}
}

// account decodes and validates the account in a path.
func account(segment string) (string, error) {
	id, err := url.PathUnescape(segment)
	if err != nil || !ledger.ValidAccount(id) {
		return "", &wire.FieldError{Field: "account", Detail: wire.BadAccount}
	}
	return id, nil
}

// minIndex returns the value of X-Quorate-Min-Index, 0 if it is absent.
func minIndex(ctx *fasthttp.RequestCtx) (uint64, error) {
	v := ctx.Request.Header.Peek(wire.HeaderMinIndex)
	if v == nil {
		return 0, nil
	}
	// In base 10, ParseUint accepts neither a sign nor underscores.
	n, err := strconv.ParseUint(string(v), 10, 64)
	if err != nil {
		return 0, &wire.FieldError{Field: wire.HeaderMinIndex, Detail: "want a log index in decimal digits"}
	}
	return n, nil
}

// await waits until this node has applied the index. The error wraps ledger.ErrBehind.
func (s *Server) await(ctx *fasthttp.RequestCtx, index uint64) error {
	if index <= s.cfg.View.Index() {
		return nil
	}
	wait, cancel := context.WithTimeout(context.Background(), indexTimeout)
	defer cancel()
	if err := s.cfg.View.WaitIndex(wait, index); err != nil {
		return errors.Join(ledger.ErrBehind, err)
	}
	s.common(ctx)
	return nil
}
