package rest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

func (s *Server) getPolicy(ctx *fasthttp.RequestCtx, _ ids) error {
	t := s.cfg.View.Table()
	switch format := string(ctx.QueryArgs().Peek("format")); format {
	case "yaml":
		reply(ctx, 200, wire.TypeYAML, t.Doc)
	case "", "json":
		return s.replyPolicy(ctx, t)
	default:
		return &wire.FieldError{Field: "format", Detail: "want json or yaml"}
	}
	ctx.Response.Header.SetCanonical(nameETag, quoted(t.Revision, 10))
	return nil
}

func (s *Server) replyPolicy(ctx *fasthttp.RequestCtx, t *ledger.Table) error {
	body, err := json.Marshal(struct {
		Revision uint64         `json:"revision"`
		Policy   *ledger.Policy `json:"policy"`
	}{t.Revision, t.Policy})
	if err != nil {
		return fmt.Errorf("marshal policy: %w", err)
	}
	ctx.Response.Header.SetCanonical(nameETag, quoted(t.Revision, 10))
	reply(ctx, 200, wire.TypeJSON, body)
	return nil
}

// putPolicy replaces the policy. It compiles the policy first, so that an invalid one
// never enters the log.
func (s *Server) putPolicy(ctx *fasthttp.RequestCtx, _ ids) error {
	op := ledger.Op{Kind: ledger.OpPolicy, Doc: string(ctx.Request.Body()), By: callerName(ctx)}
	var err error
	if op.IfMatch, err = ifMatch(ctx); err != nil {
		return err
	}
	if _, err := ledger.Compile(1, []byte(op.Doc)); err != nil {
		return err
	}
	results, err := s.propose(ctx, []ledger.Op{op})
	if err != nil {
		return err
	}
	if results[0].Err != nil {
		return results[0].Err
	}
	t, err := ledger.Compile(results[0].Revision, []byte(op.Doc))
	if err != nil {
		return err
	}
	return s.replyPolicy(ctx, t)
}

// ifMatch returns the revision in If-Match, 0 for any revision. For an entity tag that
// is not a revision it returns ledger.ErrRevision, because such a tag cannot match.
func ifMatch(ctx *fasthttp.RequestCtx) (uint64, error) {
	tag := string(ctx.Request.Header.Peek("If-Match"))
	if tag == "" || tag == "*" {
		return 0, nil
	}
	opaque := strings.TrimPrefix(tag, "W/")
	quoted := len(opaque) > 1 && opaque[0] == '"' && strings.IndexByte(opaque[1:], '"') == len(opaque)-2
	n, err := strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
	switch {
	case err == nil && n > 0:
		return n, nil
	case quoted || err == nil:
		return 0, ledger.ErrRevision
	}
	return 0, &wire.FieldError{Field: "If-Match", Detail: `want the ETag of a policy, such as "7"`}
}

// validatePolicy answers with the errors of a policy, and changes nothing.
func (s *Server) validatePolicy(ctx *fasthttp.RequestCtx, _ ids) error {
	if _, err := ledger.Compile(1, ctx.Request.Body()); err != nil {
		return err
	}
	reply(ctx, 200, wire.TypeJSON, []byte(`{"valid":true}`))
	return nil
}
