package wire

import (
	"encoding/json"
	"strings"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// SettleRequest is the body of POST /v1/settle as a client writes it, and
// without tokens and amount that of POST /v1/release.
type SettleRequest struct {
	Account     string `json:"account"`
	Reservation string `json:"reservation"`
	Tokens      *int64 `json:"tokens,omitempty"` // what was used
	Amount      string `json:"amount,omitempty"` // what it cost; empty: nothing is recorded
}

// Settle is a SettleRequest as it was read.
type Settle struct {
	Account, Reservation string
	Tokens               int64
	Amount               ledger.Micros // 0: nothing is recorded
}

// SettleResponse says what became of a settlement.
type SettleResponse struct {
	Settled       bool   `json:"settled"`
	UsageRecorded bool   `json:"usage_recorded"`
	Replayed      bool   `json:"replayed"`
	Reason        string `json:"reason,omitempty"` // reservation_unknown

	Raw json.RawMessage `json:"-"` // the body as it came
}

// ParseSettle reads the whole document of the scanner. Its strings are its own.
func ParseSettle(s *Scanner) (Settle, error) { return parseSettle(s, false) }

// ParseRelease reads the whole document of the scanner: a Settle without
// numbers.
func ParseRelease(s *Scanner) (Settle, error) { return parseSettle(s, true) }

func parseSettle(s *Scanner, release bool) (r Settle, err error) {
	var seen Fields
	tokens := false
	for s.Object(); ; {
		name, ok := s.Key()
		if !ok {
			break
		}
		switch {
		case name == "account":
			if s.Field(&seen, 0, "account") {
				r.Account = strings.Clone(s.Text())
			}
		case name == "reservation":
			if s.Field(&seen, 1, "reservation") {
				r.Reservation = strings.Clone(s.Text())
			}
		case name == "tokens" && !release:
			if s.Field(&seen, 2, "tokens") {
				r.Tokens, tokens = s.Int(bucket.MaxCost), true
			}
		case name == "amount" && !release:
			if s.Field(&seen, 3, "amount") {
				r.Amount = s.Money() // 0 cost nothing: there is nothing to record
			}
		default:
			s.Unknown(name)
		}
	}
	s.End()
	switch {
	case s.err != nil:
	case r.Account == "":
		s.failField("account", "required")
	case !ledger.ValidAccount(r.Account):
		s.failField("account", BadAccount)
	case r.Reservation == "" || len(r.Reservation) > bucket.MaxReservation || !ledger.ValidKey(r.Reservation):
		s.failField("reservation", "want the reservation of a check")
	case !release && !tokens:
		s.failField("tokens", "required: how many were used")
	}
	return r, s.err
}

// Append appends the answer as a JSON object.
func (r *SettleResponse) Append(dst []byte) []byte {
	dst = append(dst, `{"settled":`...)
	dst = appendBool(dst, r.Settled)
	dst = append(dst, `,"usage_recorded":`...)
	dst = appendBool(dst, r.UsageRecorded)
	dst = append(dst, `,"replayed":`...)
	dst = appendBool(dst, r.Replayed)
	if r.Reason != "" {
		dst = append(dst, `,"reason":`...)
		dst = AppendString(dst, r.Reason)
	}
	return append(dst, '}')
}
