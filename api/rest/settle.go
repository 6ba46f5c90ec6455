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

// settleTimeout bounds the search for the node that has a reservation.
const settleTimeout = 2 * time.Second

// settle records the cost of a reservation in the ledger, then corrects the units that
// the reservation took. The ledger comes first, because the loss of a reservation must
// not lose money.
func (s *Server) settle(ctx *fasthttp.RequestCtx, _ ids) error {
	var sc wire.Scanner
	sc.Reset(ctx.Request.Body())
	req, err := wire.ParseSettle(&sc)
	if err != nil {
		return err
	}
	out := wire.SettleResponse{}
	if req.Amount > 0 {
		op := ledger.Op{Kind: ledger.OpSettle, Account: req.Account, Key: req.Reservation, Type: ledger.Usage, Amount: req.Amount}
		if s.cfg.View.Version() < op.Kind.Since() && !ledger.CheckedReservation(op.Key) {
			op.Kind = ledger.OpEntry // as all nodes know it
		}
		results, err := s.propose(ctx, []ledger.Op{op})
		if err != nil {
			return err
		}
		s.count(op.Type, &results[0])
		if err := results[0].Err; err != nil {
			if errors.Is(err, ledger.ErrKeyReused) {
				return reservationUsed(false)
			}
			return err
		}
		out.UsageRecorded, out.Replayed = true, results[0].Replayed
	}
	return s.settleBucket(ctx, bucket.Settlement{
		Account: req.Account, Reservation: req.Reservation, Tokens: req.Tokens, Amount: int64(req.Amount),
	}, out)
}

// release returns the units that a reservation took.
func (s *Server) release(ctx *fasthttp.RequestCtx, _ ids) error {
	var sc wire.Scanner
	sc.Reset(ctx.Request.Body())
	req, err := wire.ParseRelease(&sc)
	if err != nil {
		return err
	}
	return s.settleBucket(ctx, bucket.Settlement{Account: req.Account, Reservation: req.Reservation, Release: true}, wire.SettleResponse{})
}

// settleBucket corrects the bucket and answers; out contains the outcome of the ledger
// entry. The whole settlement may be repeated: both the ledger entry and the correction
// are idempotent.
func (s *Server) settleBucket(ctx *fasthttp.RequestCtx, q bucket.Settlement, out wire.SettleResponse) error {
	limited, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	outcome, err := s.cfg.Settler.Settle(limited, &q)
	switch {
	case err != nil:
		return newProblem(503, wire.Unavailable, "", "no node that could have the reservation answered; retry, nothing is counted twice")
	case outcome == bucket.SettledOtherwise:
		return reservationUsed(out.UsageRecorded && !out.Replayed)
	case outcome == bucket.SettledUnknown && !out.UsageRecorded:
		return newProblem(404, wire.UnknownReservation, "reservation", "the reservation has expired, was lost, or belongs to another account")
	case outcome == bucket.SettledUnknown:
		out.Reason = string(wire.UnknownReservation)
	default:
		out.Settled = true
		if !out.UsageRecorded { // else Replayed is what the ledger did
			out.Replayed = outcome == bucket.SettledBefore
		}
	}
	reply(ctx, 200, wire.TypeJSON, out.Append(nil))
	return nil
}

// reservationUsed returns the problem of a settlement whose numbers differ from an
// earlier one. recorded means that this call recorded usage, which an earlier settlement
// without an amount did not: it stays recorded, because the tokens were used.
func reservationUsed(recorded bool) error {
	detail := "the reservation was settled with other numbers, or released"
	if recorded {
		detail += "; the amount was recorded as usage nevertheless"
	}
	return newProblem(409, wire.ReservationUsed, "reservation", detail)
}
