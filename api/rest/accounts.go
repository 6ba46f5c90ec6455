package rest

import (
	"context"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

// proposeTimeout bounds a write that no majority takes.
const proposeTimeout = 5 * time.Second

func (s *Server) getAccount(ctx *fasthttp.RequestCtx, segment string) error {
	id, err := account(segment)
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

func (s *Server) patchAccount(ctx *fasthttp.RequestCtx, segment string) error {
	id, err := account(segment)
	if err != nil {
		return err
	}
	var sc wire.Scanner
	sc.Reset(ctx.Request.Body())
	patch, err := wire.ParsePatch(&sc)
	if err != nil {
		return err
	}
	results, err := s.propose(ctx, []ledger.Op{{Kind: ledger.OpPatch, Account: id, Patch: patch}})
	if err != nil {
		return err
	}
	if results[0].Err != nil {
		return results[0].Err
	}
	s.replyAccount(ctx, &results[0].Account)
	return nil
}

// replyAccount answers with an account; the ETag is a hash of the body, which
// changes with the policy too.
func (s *Server) replyAccount(ctx *fasthttp.RequestCtx, a *ledger.Account) {
	body := wire.AppendAccount(nil, a, s.cfg.View.Table())
	ctx.Response.Header.SetCanonical(nameETag, quoted(xxhash.Sum64(body), 16))
	reply(ctx, 200, wire.TypeJSON, body)
}

var nameETag = []byte("ETag")

// quoted writes n as an entity tag.
func quoted(n uint64, base int) []byte {
	return append(strconv.AppendUint([]byte{'"'}, n, base), '"')
}

// propose writes through the log and sets the index that the answer carries.
func (s *Server) propose(ctx *fasthttp.RequestCtx, ops []ledger.Op) ([]ledger.Result, error) {
	limited, cancel := context.WithTimeout(context.Background(), proposeTimeout)
	defer cancel()
	results, index, err := s.cfg.Proposer.Propose(limited, ops)
	if err != nil {
		return nil, err
	}
	for i := range results {
		if results[i].Err == nil {
			index = max(index, results[i].Entry.Index)
		}
	}
	s.header(ctx, index)
	return results, nil
}
