package rest

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

// indexTimeout bounds the wait for X-Quorate-Min-Index.
const indexTimeout = 2 * time.Second

// handler answers one request; id is the {} of its path, still encoded. The
// error it returns is answered as a problem.
type handler func(s *Server, ctx *fasthttp.RequestCtx, id string) error

// routes are all but POST /v1/check, which handle takes first.
var routes = []struct {
	path  string
	allow string
	get   handler
	post  handler
	patch handler
}{
	{path: "/v1/check", allow: "POST"},
	{path: "/v1/accounts/{}", allow: "GET, HEAD, PATCH", get: (*Server).getAccount, patch: (*Server).patchAccount},
	{path: "/v1/accounts/{}/ledger", allow: "POST", post: (*Server).postEntry},
	{path: "/v1/ledger", allow: "POST", post: (*Server).postBulk},
	{path: "/v1/policy", allow: "GET, HEAD", get: (*Server).getPolicy},
	{path: "/v1/cluster", allow: "GET, HEAD", get: (*Server).getCluster},
	{path: "/livez", allow: "GET, HEAD", get: (*Server).livez},
	{path: "/readyz", allow: "GET, HEAD", get: (*Server).readyz},
	{path: "/metrics", allow: "GET, HEAD", get: (*Server).metrics},
}

var checkPath = []byte("/v1/check")

// handle answers every request.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	// PathOriginal, because fasthttp decodes and cleans Path: an id with %2F
	// in it would become two segments.
	path := ctx.URI().PathOriginal()
	if ctx.IsPost() && string(path) == string(checkPath) {
		s.check(ctx)
		return
	}
	s.common(ctx)
	if err := s.route(ctx, string(path)); err != nil {
		s.fail(ctx, err)
	}
}

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

// route finds who answers a path.
func (s *Server) route(ctx *fasthttp.RequestCtx, path string) error {
	min, err := minIndex(ctx)
	if err != nil {
		return err
	}
	for i := range routes {
		r := &routes[i]
		id, ok := match(r.path, path)
		if !ok {
			continue
		}
		h := r.get
		switch string(ctx.Method()) {
		case "GET", "HEAD":
			if err := s.consistency(ctx); err != nil {
				return err
			}
		case "POST":
			h = r.post
		case "PATCH":
			h = r.patch
		default:
			h = nil
		}
		if h == nil {
			ctx.Response.Header.Set("Allow", r.allow)
			return newProblem(405, wire.MethodNotAllowed, "", "this path takes "+r.allow)
		}
		if err := s.await(ctx, min); err != nil {
			return err
		}
		return h(s, ctx, id)
	}
	return newProblem(404, wire.NotFound, "", "there is nothing at this path")
}

// consistency refuses what this server cannot keep, instead of ignoring it.
func (s *Server) consistency(ctx *fasthttp.RequestCtx) error {
	if ctx.QueryArgs().Has("consistency") {
		return &wire.FieldError{Field: "consistency", Detail: "this server does not offer a choice of consistency yet"}
	}
	return nil
}

// match reports whether the path is what the pattern says, and returns the
// segment in place of {} as it came.
func match(pattern, path string) (id string, ok bool) {
	for {
		want, restOfPattern, more := strings.Cut(pattern, "/")
		got, restOfPath, moreOfPath := strings.Cut(path, "/")
		if more != moreOfPath {
			return "", false
		}
		if want == "{}" {
			if got == "" {
				return "", false
			}
			id = got
		} else if plain, err := url.PathUnescape(got); err != nil || plain != want {
			return "", false
		}
		if !more {
			return id, true
		}
		pattern, path = restOfPattern, restOfPath
	}
}

// account decodes the id in a path.
func account(segment string) (string, error) {
	id, err := url.PathUnescape(segment)
	if err != nil || !ledger.ValidAccount(id) {
		return "", &wire.FieldError{Field: "account", Detail: wire.BadAccount}
	}
	return id, nil
}

// minIndex reads X-Quorate-Min-Index, 0 when it is not there.
func minIndex(ctx *fasthttp.RequestCtx) (uint64, error) {
	v := ctx.Request.Header.Peek(wire.HeaderMinIndex)
	if v == nil {
		return 0, nil
	}
	// ParseUint takes neither a sign nor, in base 10, an underscore.
	n, err := strconv.ParseUint(string(v), 10, 64)
	if err != nil {
		return 0, &wire.FieldError{Field: wire.HeaderMinIndex, Detail: "want a log index, in digits"}
	}
	return n, nil
}

// await waits until this node has applied the index that the request names.
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
