package wire

import (
	"encoding/json"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// DefaultRequests is how many requests a check counts that does not say it.
const DefaultRequests = 1

// CheckRequest is the body of POST /v1/check. Marshalling always writes both
// numbers, so that 0 requests stay 0; Parse sets absent Requests to DefaultRequests.
type CheckRequest struct {
	Account  string `json:"account"`
	Model    string `json:"model,omitempty"`
	Category string `json:"category,omitempty"`
	Requests int64  `json:"requests"`
	Tokens   int64  `json:"tokens"`
	DryRun   bool   `json:"dry_run,omitempty"`
	Reserve  bool   `json:"reserve,omitempty"`
}

// Parse reads the scanner's whole document. The strings of r point into the
// document and are valid only as long as it is. The error is a *FieldError.
func (r *CheckRequest) Parse(s *Scanner) error {
	*r = CheckRequest{Requests: DefaultRequests}
	var seen Fields
	for s.Object(); ; {
		name, ok := s.Key()
		if !ok {
			break
		}
		r.field(s, &seen, name)
	}
	s.End()
	if s.err == nil {
		s.err = r.Validate()
	}
	return s.err
}

func (r *CheckRequest) field(s *Scanner, seen *Fields, name string) {
	switch name {
	case "account":
		if s.Field(seen, 0, "account") {
			r.Account = s.Text()
		}
	case "model":
		if s.Field(seen, 1, "model") {
			if r.Model = s.Text(); !ledger.ValidModel(r.Model) {
				s.Fail(BadModel)
			}
		}
	case "category":
		if s.Field(seen, 2, "category") {
			if r.Category = s.Text(); !ledger.ValidCategory(r.Category) {
				s.Fail(BadCategory)
			}
		}
	case "requests":
		if s.Field(seen, 3, "requests") {
			r.Requests = s.Int(bucket.MaxCost)
		}
	case "tokens":
		if s.Field(seen, 4, "tokens") {
			r.Tokens = s.Int(bucket.MaxCost)
		}
	case "dry_run":
		if s.Field(seen, 5, "dry_run") {
			r.DryRun = s.Bool()
		}
	case "reserve":
		if s.Field(seen, 6, "reserve") {
			r.Reserve = s.Bool()
		}
	default:
		s.Unknown(name)
	}
}

// Validate returns a *FieldError if a string of the request is missing or invalid,
// or if members contradict each other. It does not check the numbers.
func (r *CheckRequest) Validate() error {
	switch {
	case r.Account == "":
		return &FieldError{"account", "required"}
	case !ledger.ValidAccount(r.Account):
		return &FieldError{"account", BadAccount}
	case r.Model == "" && r.Category == "":
		return &FieldError{"model", "model or category is required"}
	case r.Model != "" && !ledger.ValidModel(r.Model):
		return &FieldError{"model", BadModel}
	case r.Category != "" && !ledger.ValidCategory(r.Category):
		return &FieldError{"category", BadCategory}
	case r.DryRun && r.Reserve:
		return &FieldError{"reserve", "a dry_run reserves nothing"}
	}
	return nil
}

// The details of errors about invalid names.
const (
	BadAccount  = "want 1 to 128 of A-Z a-z 0-9 . _ : @ -, the first a letter or digit"
	BadCategory = "want 1 to 64 of A-Z a-z 0-9 . _ : @ -, the first a letter or digit"
	BadModel    = "want 1 to 256 printable ASCII characters without space"
)

// CheckResponse is a decision as a client reads it.
type CheckResponse struct {
	Allowed      bool          `json:"allowed"`
	Reason       string        `json:"reason"`
	Account      string        `json:"account"`
	Tier         int           `json:"tier"`
	Category     string        `json:"category"`
	Limits       []LimitStatus `json:"limits"`
	RequiredTier *int          `json:"required_tier"` // for free_tier and tier_access
	SpendNeeded  *string       `json:"spend_needed"`  // in dollars, for free_tier and tier_access
	LimitHit     *string       `json:"limit_hit"`     // name of the limit, for rate_limited
	NeverFits    bool          `json:"never_fits"`
	RetryAfterMS *int64        `json:"retry_after_ms"` // nil if NeverFits
	Reservation  string        `json:"reservation"`    // empty unless requested and allowed, and when the node has no room for more
	DecidedBy    string        `json:"decided_by"`
	Node         string        `json:"node"`
	Degraded     bool          `json:"degraded"`

	Status int             `json:"-"` // HTTP status: 200, 402, 403 or 429
	Index  uint64          `json:"-"` // applied index of the node that decided
	Raw    json.RawMessage `json:"-"` // the body as received
}

// LimitStatus is a limit of an account. Remaining and ResetMS are set only in a
// decision.
type LimitStatus struct {
	Name      string `json:"name"`
	Unit      string `json:"unit"`
	Limit     int64  `json:"limit"`
	Burst     int64  `json:"burst"`
	Window    string `json:"window"`
	Remaining int64  `json:"remaining"`
	ResetMS   int64  `json:"reset_ms"`
	Source    string `json:"source"`
}
