package rest

import (
	"net/url"
	"strconv"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

// The outcomes of an entry in the metrics.
const (
	applied  = "applied"
	replayed = "replayed"
	refused  = "refused"
)

func (s *Server) postEntry(ctx *fasthttp.RequestCtx, ids ids) error {
	id, err := account(ids[0])
	if err != nil {
		return err
	}
	var sc wire.Scanner
	sc.Reset(ctx.Request.Body())
	op, err := wire.ParseEntry(&sc, id)
	if err != nil {
		return err
	}
	results, err := s.propose(ctx, []ledger.Op{op})
	if err != nil {
		return err
	}
	s.count(op.Type, &results[0])
	if results[0].Err != nil {
		return results[0].Err
	}
	body := wire.AppendEntryResult([]byte{'{'}, &results[0], s.cfg.View.Table())
	reply(ctx, 200, wire.TypeJSON, append(body, '}'))
	return nil
}

// getEntry answers with one entry. Clients use it to find out whether a write of unknown
// outcome was applied.
func (s *Server) getEntry(ctx *fasthttp.RequestCtx, ids ids) error {
	id, err := account(ids[0])
	if err != nil {
		return err
	}
	key, err := url.PathUnescape(ids[1])
	if err != nil || !ledger.ValidKey(key) {
		return &wire.FieldError{Field: "key", Detail: "want 1 to 128 printable ASCII characters"}
	}
	e, ok := s.cfg.View.Entry(id, key)
	if !ok {
		return newProblem(404, wire.UnknownKey, "", "the ledger remembers no entry of the account with this key")
	}
	reply(ctx, 200, wire.TypeJSON, wire.AppendEntry(nil, e))
	return nil
}

// postBulk applies entries in order, in one command of the log. Each succeeds or fails
// independently.
func (s *Server) postBulk(ctx *fasthttp.RequestCtx, _ ids) error {
	var sc wire.Scanner
	sc.Reset(ctx.Request.Body())
	items, err := wire.ParseItems(&sc, "entries")
	if err != nil {
		return err
	}
	ops := make([]ledger.Op, 0, len(items))
	faults := make([]error, len(items)) // nil for an item that was parsed
	for i, item := range items {
		sc.Reset(item)
		op, err := wire.ParseItem(&sc)
		if faults[i] = err; err == nil {
			ops = append(ops, op)
		}
	}
	var results []ledger.Result
	if len(ops) > 0 {
		if results, err = s.propose(ctx, ops); err != nil {
			return err
		}
	}
	s.replyBulk(ctx, faults, ops, results)
	return nil
}

// replyBulk writes a result for each item: its parse error, or else the next of the
// results.
func (s *Server) replyBulk(ctx *fasthttp.RequestCtx, faults []error, ops []ledger.Op, results []ledger.Result) {
	table := s.cfg.View.Table()
	body := append(make([]byte, 0, 1024*len(faults)), `{"results":[`...)
	next := 0
	for i, err := range faults {
		if i > 0 {
			body = append(body, ',')
		}
		var r *ledger.Result
		if err == nil {
			r = &results[next]
			s.count(ops[next].Type, r)
			err = r.Err
			next++
		}
		body = append(body, '{')
		if err != nil {
			p := problemOf(err)
			body = p.AppendMembers(body)
		} else {
			body = append(body, `"status":`...)
			body = append(strconv.AppendInt(body, 200, 10), ',')
			body = wire.AppendEntryResult(body, r, table)
		}
		body = append(body, '}')
	}
	reply(ctx, 200, wire.TypeJSON, append(body, "]}"...))
}

func (s *Server) count(t ledger.EntryType, r *ledger.Result) {
	outcome := applied
	switch {
	case r.Err != nil:
		outcome = refused
	case r.Replayed:
		outcome = replayed
	}
	s.cfg.Metrics.Entered(t, outcome)
}
