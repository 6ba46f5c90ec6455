package wire

import (
	"encoding/json"
	"strings"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// SettleRequest is the body of POST /v1/settle as a client writes it. The body of
// POST /v1/release is the same without tokens and amount.
type SettleRequest struct {
	Account     string `json:"account"`
	Reservation string `json:"reservation"`
	Tokens      *int64 `json:"tokens,omitempty"` // tokens used
	Amount      string `json:"amount,omitempty"` // their cost in dollars; empty: no usage is recorded
}

// Settle is a parsed SettleRequest.
type Settle struct {
	Account, Reservation string
	Tokens               int64
	Amount               ledger.Money // 0: no usage is recorded
}

// SettleResponse is the answer to a settlement or a release.
type SettleResponse struct {
	Settled       bool   `json:"settled"`
	UsageRecorded bool   `json:"usage_recorded"`
	Replayed      bool   `json:"replayed"`
	Reason        string `json:"reason,omitempty"` // reservation_unknown

	Raw json.RawMessage `json:"-"` // the body as received
}

// ParseSettle reads the scanner's whole document. The strings of the result are
// clones. The error is a *FieldError.
func ParseSettle(s *Scanner) (Settle, error) { return parseSettle(s, false) }

// ParseRelease is ParseSettle for the body of a release, which has no numbers.
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
				r.Amount = s.Money() // 0 is valid: there is no usage to record
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
		s.failField("tokens", "required: the number of tokens used")
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
