package rest

import (
	"context"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"quorate/api/wire"
	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// settleTimeout bounds the search for a reservation.
const settleTimeout = 2 * time.Second

// settle corrects what a reservation took and records what it cost: the ledger
// first, because money must not be lost with a reservation.
func (s *Server) settle(ctx *fasthttp.RequestCtx, _ ids) error {
	var sc wire.Scanner
	sc.Reset(ctx.Request.Body())
	req, err := wire.ParseSettle(&sc)
	if err != nil {
		return err
	}
	out := wire.SettleResponse{}
	if req.Amount > 0 {
		op := ledger.Op{Kind: ledger.OpEntry, Account: req.Account, Key: req.Reservation, Type: ledger.Usage, Amount: req.Amount}
		results, err := s.propose(ctx, []ledger.Op{op})
		if err != nil {
			return err
		}
		s.count(op.Type, &results[0])
		if err := results[0].Err; err != nil {
			if errors.Is(err, ledger.ErrKeyReused) {
				return settledOtherwise(false)
			}
			return err
		}
		out.UsageRecorded, out.Replayed = true, results[0].Replayed
	}
	return s.settled(ctx, bucket.Settlement{
		Account: req.Account, Reservation: req.Reservation, Tokens: req.Tokens, Amount: int64(req.Amount),
	}, out)
}

// release gives back what a reservation took.
func (s *Server) release(ctx *fasthttp.RequestCtx, _ ids) error {
	var sc wire.Scanner
	sc.Reset(ctx.Request.Body())
	req, err := wire.ParseRelease(&sc)
	if err != nil {
		return err
	}
	return s.settled(ctx, bucket.Settlement{Account: req.Account, Reservation: req.Reservation, Release: true}, wire.SettleResponse{})
}

// settled has the bucket corrected, and answers. out says what became of the
// money. All of it may be asked again: the ledger and the reservation both know
// what they have done.
func (s *Server) settled(ctx *fasthttp.RequestCtx, q bucket.Settlement, out wire.SettleResponse) error {
	limited, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	what, err := s.cfg.Settler.Settle(limited, &q)
	switch {
	case err != nil:
		return newProblem(503, wire.Unavailable, "", "no node that could know the reservation answered; ask again, nothing is counted twice")
	case what == bucket.SettledOtherwise:
		return settledOtherwise(out.UsageRecorded && !out.Replayed)
	case what == bucket.SettledUnknown && !out.UsageRecorded:
		return newProblem(404, wire.UnknownReservation, "reservation", "the reservation has expired, was lost, or is another account's")
	case what == bucket.SettledUnknown:
		out.Reason = string(wire.UnknownReservation)
	default:
		out.Settled = true
		// A repetition is one of both: the money may have been recorded by a
		// first attempt that did not reach the bucket.
		out.Replayed = what == bucket.SettledBefore
	}
	reply(ctx, 200, wire.TypeJSON, out.Append(nil))
	return nil
}

// settledOtherwise refuses other numbers than the first. recorded: these are the
// first that came with money, which stays recorded, because it was spent.
func settledOtherwise(recorded bool) error {
	detail := "the reservation was settled with other numbers, or released"
	if recorded {
		detail += "; the amount was recorded as usage all the same"
	}
	return newProblem(409, wire.ReservationUsed, "reservation", detail)
}
