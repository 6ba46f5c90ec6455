package rest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

// postToken creates a token. Only this answer contains its secret.
func (s *Server) postToken(ctx *fasthttp.RequestCtx, _ ids) error {
	var sc wire.Scanner
	sc.Reset(ctx.Request.Body())
	name, scopes, err := wire.ParseToken(&sc)
	if err != nil {
		return err
	}
	secret := s.cfg.NewSecret()
	t := &ledger.Token{Name: name, Scopes: scopes, Hash: ledger.HashSecret([]byte(secret))}
	if err := s.changeTokens(ctx, ledger.Op{Kind: ledger.OpToken, Token: t}); err != nil {
		return err
	}
	return replyJSON(ctx, wire.Token{Name: name, Scopes: scopes.Names(), Secret: secret})
}

func (s *Server) changeTokens(ctx *fasthttp.RequestCtx, op ledger.Op) error {
	op.Guard, op.By = !s.cfg.Access.Guarded(), callerName(ctx)
	results, err := s.propose(ctx, []ledger.Op{op})
	if err != nil {
		return err
	}
	return results[0].Err
}

func (s *Server) listTokens(ctx *fasthttp.RequestCtx, _ ids) error {
	out := wire.Tokens{Tokens: []wire.Token{}}
	for _, t := range s.cfg.View.Tokens().List() {
		out.Tokens = append(out.Tokens, wire.TokenOf(t))
	}
	return replyJSON(ctx, out)
}

func (s *Server) getToken(ctx *fasthttp.RequestCtx, ids ids) error {
	name, err := tokenName(ids[0])
	if err != nil {
		return err
	}
	t := s.cfg.View.Tokens().Get(name)
	if t == nil {
		return ledger.ErrUnknownToken
	}
	return replyJSON(ctx, wire.TokenOf(t))
}

func (s *Server) deleteToken(ctx *fasthttp.RequestCtx, ids ids) error {
	name, err := tokenName(ids[0])
	if err != nil {
		return err
	}
	if err := s.changeTokens(ctx, ledger.Op{Kind: ledger.OpRevoke, Token: &ledger.Token{Name: name}}); err != nil {
		return err
	}
	ctx.Response.SetStatusCode(204)
	return nil
}

func tokenName(segment string) (string, error) {
	name, err := url.PathUnescape(segment)
	if err != nil || !ledger.ValidTokenName(name) {
		return "", &wire.FieldError{Field: "name", Detail: wire.BadTokenName}
	}
	return name, nil
}

// getAudit answers with a page of the audit, newest record first. The cursor is the id
// of the last record of the previous page.
func (s *Server) getAudit(ctx *fasthttp.RequestCtx, _ ids) error {
	limit, before := defaultList, uint64(0)
	args := ctx.QueryArgs()
	var err error
	if args.Has("limit") {
		if limit, err = queryInt(ctx, "limit", 1, maxList); err != nil {
			return err
		}
	}
	if cursor := string(args.Peek("cursor")); cursor != "" {
		if before, err = strconv.ParseUint(cursor, 10, 64); err != nil || before == 0 {
			return &wire.FieldError{Field: "cursor", Detail: "want the next_cursor of the previous page"}
		}
	}
	records, more := s.cfg.View.Audit(before, limit)
	out := wire.Audit{Entries: make([]wire.AuditRecord, 0, len(records))}
	for i := range records {
		out.Entries = append(out.Entries, wire.AuditOf(&records[i]))
	}
	if more {
		next := strconv.FormatUint(records[len(records)-1].ID, 10)
		out.NextCursor = &next
	}
	return replyJSON(ctx, out)
}

func replyJSON(ctx *fasthttp.RequestCtx, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("marshal answer: %w", err)
	}
	reply(ctx, 200, wire.TypeJSON, body)
	return nil
}
