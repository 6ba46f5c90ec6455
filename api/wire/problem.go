package wire

import (
	"net/http"
	"strconv"

	"quorate/fsm/ledger"
)

// Code identifies a kind of problem.
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
	IssuedInFuture      Code = "issued_in_future"
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

// Problem is an RFC 9457 problem, the answer to every request that fails. A denial
// is a decision, not a problem. The type of a problem is always about:blank, because
// Code identifies it.
type Problem struct {
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   Code   `json:"code"`
	Field  string `json:"field,omitempty"` // the invalid field, if there is exactly one

	Errors ledger.Faults `json:"errors,omitempty"` // all errors of a document
}

// Append appends the problem as a JSON object.
func (p *Problem) Append(dst []byte) []byte { return append(p.AppendMembers(append(dst, '{')), '}') }

// AppendMembers is Append without the braces, for a failed item of a bulk request.
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

// FieldError is the error of a request that cannot be parsed or has an invalid
// value.
type FieldError struct {
	Field  string // empty if the error concerns no single field
	Detail string
}

// Error returns the detail, preceded by the field if there is one.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Detail
	}
	return e.Field + ": " + e.Detail
}
