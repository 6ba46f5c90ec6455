package wire

import (
	"net/http"
	"strconv"

	"quorate/fsm/ledger"
)

// Code is the machine-readable name of a problem.
type Code string

// The codes of the API.
const (
	InvalidRequest      Code = "invalid_request"
	Unauthenticated     Code = "unauthenticated"
	InsufficientScope   Code = "insufficient_scope"
	TokenExists         Code = "token_exists"
	TooManyTokens       Code = "too_many_tokens"
	LastAdmin           Code = "last_admin"
	UnknownModel        Code = "unknown_model"
	UnknownAccount      Code = "unknown_account"
	UnknownKey          Code = "unknown_key"
	UnknownReservation  Code = "reservation_unknown"
	NotFound            Code = "not_found"
	MethodNotAllowed    Code = "method_not_allowed"
	KeyReused           Code = "key_reused"
	KeyExpired          Code = "key_expired"
	ReservationUsed     Code = "reservation_settled"
	NotEmpty            Code = "not_empty"
	RevisionMismatch    Code = "revision_mismatch"
	InvalidPolicy       Code = "invalid_policy"
	InvalidOverrides    Code = "invalid_overrides"
	TooLarge            Code = "too_large"
	UnknownNode         Code = "unknown_node"
	LastNode            Code = "last_node"
	QuorumLoss          Code = "quorum_loss"
	UnfitNode           Code = "unfit_node"
	InvalidBackup       Code = "invalid_backup"
	Restoring           Code = "restoring"
	UpgradeUnfinished   Code = "upgrade_unfinished"
	InsufficientCredits Code = "insufficient_credits"
	Overflow            Code = "overflow"
	NoQuorum            Code = "no_quorum"
	OutcomeUnknown      Code = "outcome_unknown"
	Behind              Code = "behind"
	Overloaded          Code = "overloaded"
	Unavailable         Code = "unavailable"
	Internal            Code = "internal"
)

// Problem is an RFC 9457 problem: every answer that is neither a success nor a
// decision. Its type is about:blank, because the code says all there is.
type Problem struct {
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   Code   `json:"code"`
	Field  string `json:"field,omitempty"` // the one at fault, if one is

	Errors ledger.Faults `json:"errors,omitempty"` // every fault of a document
}

// Append appends the problem as a JSON object.
func (p *Problem) Append(dst []byte) []byte { return append(p.AppendMembers(append(dst, '{')), '}') }

// AppendMembers appends the problem's members without the braces, for an item
// of a list that failed alone.
func (p *Problem) AppendMembers(dst []byte) []byte {
	dst = append(dst, `"type":"about:blank","title":`...)
	dst = AppendString(dst, http.StatusText(p.Status))
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(p.Status), 10)
	dst = append(dst, `,"detail":`...)
	dst = AppendString(dst, p.Detail)
	dst = append(dst, `,"code":`...)
	dst = AppendString(dst, string(p.Code))
	if p.Field != "" {
		dst = append(dst, `,"field":`...)
		dst = AppendString(dst, p.Field)
	}
	for i, f := range p.Errors {
		if i == 0 {
			dst = append(dst, `,"errors":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"path":`...)
		dst = AppendString(dst, f.Path)
		dst = append(dst, `,"message":`...)
		dst = append(AppendString(dst, f.Message), '}')
		if i == len(p.Errors)-1 {
			dst = append(dst, ']')
		}
	}
	return dst
}

// FieldError is a request that cannot be read or has a value out of bounds.
type FieldError struct {
	Field  string // empty when no one field is at fault
	Detail string
}

// Error returns the detail with the field it is about.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Detail
	}
	return e.Field + ": " + e.Detail
}
