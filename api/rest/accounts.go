package rest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

// proposeTimeout bounds a write.
const proposeTimeout = 5 * time.Second

func (s *Server) getAccount(ctx *fasthttp.RequestCtx, ids ids) error {
	id, err := account(ids[0])
	if err != nil {
		return err
	}
	a := s.cfg.View.Account(id)
	if a == nil {
		return newProblem(404, wire.UnknownAccount, "", "no account "+id)
	}
	s.replyAccount(ctx, a)
	return nil
}

func (s *Server) patchAccount(ctx *fasthttp.RequestCtx, ids ids) error {
	id, err := account(ids[0])
	if err != nil {
		return err
	}
	var sc wire.Scanner
	sc.Reset(ctx.Request.Body())
	patch, err := wire.ParsePatch(&sc)
	if err != nil {
		return err
	}
	if patch.Overrides != nil {
		if patch.Patch.Overrides, err = ledger.CompileOverrides(patch.Overrides); err != nil {
			return fmt.Errorf("%w: %w", errOverrides, err)
		}
	}
	op := ledger.Op{Kind: ledger.OpPatch, Account: id, Patch: patch.Patch}
	if patch.Overrides != nil {
		op.By = callerName(ctx)
	}
	results, err := s.propose(ctx, []ledger.Op{op})
	if err != nil {
		return err
	}
	if err := results[0].Err; err != nil {
		if errors.Is(err, ledger.ErrPastExpiry) {
			return pastExpiry(patch.Overrides)
		}
		return err
	}
	s.replyAccount(ctx, &results[0].Account)
	return nil
}

// pastExpiry returns the error of an override that has already expired. It names the
// override that expires first: only the log knows its own time, but if any override
// has expired, this one has.
func pastExpiry(list []ledger.OverrideRule) error {
	first := -1
	for i, o := range list {
		if o.ExpiresAt != 0 && (first < 0 || o.ExpiresAt < list[first].ExpiresAt) {
			first = i
		}
	}
	at := fmt.Sprintf("overrides[%d].expires_at", first)
	return fmt.Errorf("%w: %w", errOverrides, ledger.Faults{{Path: at, Message: "in the past"}})
}

func (s *Server) deleteAccount(ctx *fasthttp.RequestCtx, ids ids) error {
	id, err := account(ids[0])
	if err != nil {
		return err
	}
	results, err := s.propose(ctx, []ledger.Op{{Kind: ledger.OpDelete, Account: id, By: callerName(ctx)}})
	if err != nil {
		return err
	}
	if results[0].Err != nil {
		return results[0].Err
	}
	ctx.Response.SetStatusCode(204)
	return nil
}

// The limits of a page of a list.
const (
	maxList     = 1000
	defaultList = 100
)

// listAccounts answers with a page of accounts in byte order. The cursor is the last id
// of the previous page.
func (s *Server) listAccounts(ctx *fasthttp.RequestCtx, _ ids) error {
	q := ledger.Query{Tier: -1, Limit: defaultList}
	args := ctx.QueryArgs()
	var err error
	if args.Has("limit") {
		if q.Limit, err = queryInt(ctx, "limit", 1, maxList); err != nil {
			return err
		}
	}
	if args.Has("tier") {
		if q.Tier, err = queryInt(ctx, "tier", 0, ledger.MaxLevel); err != nil {
			return err
		}
	}
	if q.After = string(args.Peek("cursor")); q.After != "" && !ledger.ValidAccount(q.After) {
		return &wire.FieldError{Field: "cursor", Detail: "want the next_cursor of the previous page"}
	}
	q.Limit++ // whether there are more
	list := s.cfg.View.List(q)
	more := len(list) == q.Limit
	if more {
		list = list[:len(list)-1]
	}
	table := s.cfg.View.Table()
	body := append(make([]byte, 0, 512*len(list)+64), `{"accounts":[`...)
	for i, a := range list {
		if i > 0 {
			body = append(body, ',')
		}
		body = wire.AppendAccount(body, a, table)
	}
	body = append(body, `],"next_cursor":`...)
	if more {
		body = wire.AppendString(body, list[len(list)-1].ID)
	} else {
		body = append(body, "null"...)
	}
	reply(ctx, 200, wire.TypeJSON, append(body, '}'))
	return nil
}

// queryInt returns an integer from the query, which must be from min to max.
func queryInt(ctx *fasthttp.RequestCtx, name string, min, max int) (int, error) {
	n, err := strconv.ParseUint(string(ctx.QueryArgs().Peek(name)), 10, 32)
	if err != nil || int(n) < min || int(n) > max {
		return 0, &wire.FieldError{Field: name, Detail: fmt.Sprintf("want an integer from %d to %d", min, max)}
	}
	return int(n), nil
}

// replyAccount answers with an account. The ETag is a hash of the body, because the
// body also changes with the policy.
func (s *Server) replyAccount(ctx *fasthttp.RequestCtx, a *ledger.Account) {
	body := wire.AppendAccount(nil, a, s.cfg.View.Table())
	ctx.Response.Header.SetCanonical(nameETag, quoted(xxhash.Sum64(body), 16))
	reply(ctx, 200, wire.TypeJSON, body)
}

var nameETag = []byte("ETag")

// quoted formats n as an entity tag.
func quoted(n uint64, base int) []byte {
	return append(strconv.AppendUint([]byte{'"'}, n, base), '"')
}

// propose applies the operations and sets the index of the answer.
func (s *Server) propose(ctx *fasthttp.RequestCtx, ops []ledger.Op) ([]ledger.Result, error) {
	limited, cancel := context.WithTimeout(context.Background(), proposeTimeout)
	defer cancel()
	results, index, err := s.cfg.Proposer.Propose(limited, ops)
	if err != nil {
		return nil, err
	}
	for i := range results {
		if errors.Is(results[i].Err, ledger.ErrRestoring) || errors.Is(results[i].Err, ledger.ErrUpgrade) {
			return nil, results[i].Err // it concerns the whole request
		}
		if results[i].Err == nil {
			index = max(index, results[i].Entry.Index)
		}
	}
	s.header(ctx, index)
	return results, nil
}
