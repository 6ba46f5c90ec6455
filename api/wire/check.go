package wire

import (
	"encoding/json"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// CheckRequest is the body of POST /v1/check. Written, it carries all its
// numbers, so that 0 requests stay 0; read, Requests defaults to 1.
type CheckRequest struct {
	Account  string `json:"account"`
	Model    string `json:"model,omitempty"`
	Category string `json:"category,omitempty"`
	Requests int64  `json:"requests"`
	Tokens   int64  `json:"tokens"`
	DryRun   bool   `json:"dry_run,omitempty"`
	Reserve  bool   `json:"reserve,omitempty"`
}

// Parse reads the whole document of the scanner. The strings are views that
// live as long as the document. Its error is a *FieldError.
func (r *CheckRequest) Parse(s *Scanner) error {
	*r = CheckRequest{Requests: 1}
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

// Validate reports what is wrong with the request's words, as a *FieldError.
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

// What names must be.
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
	RequiredTier *int          `json:"required_tier"` // free_tier and tier_access
	SpendNeeded  *string       `json:"spend_needed"`  // likewise
	LimitHit     *string       `json:"limit_hit"`     // rate_limited: the limit's name
	NeverFits    bool          `json:"never_fits"`
	RetryAfterMS *int64        `json:"retry_after_ms"` // nil when it never fits
	Reservation  string        `json:"reservation"`    // of an allowed check that asked for one; empty: there was no room
	DecidedBy    string        `json:"decided_by"`
	Node         string        `json:"node"`
	Degraded     bool          `json:"degraded"`

	Status int             `json:"-"` // of the HTTP answer: 200, 402, 403 or 429
	Index  uint64          `json:"-"` // the deciding node's applied index
	Raw    json.RawMessage `json:"-"` // the body as it came
}

// LimitStatus is a limit as an account has it; in a decision also how it
// stands.
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
