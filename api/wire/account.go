package wire

import (
	"encoding/json"
	"strconv"

	"quorate/fsm/ledger"
)

// Patch is the body of PATCH /v1/accounts/{id}: the ledger's patch, and the
// overrides before they are compiled. Overrides is nil if the body has none.
type Patch struct {
	ledger.Patch
	Overrides []ledger.OverrideRule
}

// ParsePatch reads the body of PATCH /v1/accounts/{id}. A null usage_limit removes
// the limit; null is invalid for all other members. ParsePatch does not check the
// meaning of the overrides: ledger.CompileOverrides does. The error is a
// *FieldError.
func ParsePatch(s *Scanner) (Patch, error) {
	var p Patch
	var seen Fields
	for s.Object(); ; {
		name, ok := s.Key()
		if !ok {
			break
		}
		patchField(s, &seen, name, &p)
	}
	s.End()
	return p, s.err
}

func patchField(s *Scanner, seen *Fields, name string, p *Patch) {
	switch name {
	case "plan":
		if s.Field(seen, 0, "plan") {
			plan, ok := ledger.ParsePlan(s.Text())
			if !ok {
				s.Fail("want build, scale or enterprise")
			}
			p.Plan = &plan
			return
		}
		s.Fail("want build, scale or enterprise, not null")
	case "usage_limit":
		limit := ledger.NoUsageLimit
		if s.Field(seen, 1, "usage_limit") {
			limit = s.Money()
		}
		p.UsageLimit = &limit
	case "suspended":
		if s.Field(seen, 2, "suspended") {
			v := s.Bool()
			p.Suspended = &v
			return
		}
		s.Fail("want true or false")
	case "overrides":
		if s.Field(seen, 3, "overrides") {
			s.overrides(p)
			return
		}
		s.Fail("want a list; an empty list removes all overrides")
	default:
		s.Unknown(name)
	}
}

// Money reads an amount. It must be a string, because many JSON libraries would
// convert a number to a float and lose cents.
func (s *Scanner) Money() ledger.Money {
	if c := s.peek(); c != '"' {
		s.Fail(ledger.ErrMoney.Error())
		return 0
	}
	m, err := ledger.ParseMoney(s.Text())
	if err != nil {
		s.Fail(err.Error())
	}
	return m
}

// AppendAccount appends an account as a JSON object, with its tier and limits
// according to t.
func AppendAccount(dst []byte, a *ledger.Account, t *ledger.Table) []byte {
	st := t.Standing(a)
	dst = append(dst, `{"id":`...)
	dst = AppendString(dst, a.ID)
	dst = append(dst, `,"plan":"`...)
	dst = append(dst, a.Plan.String()...)
	dst = append(dst, `","tier":`...)
	dst = strconv.AppendInt(dst, int64(st.Tier), 10)
	dst = append(dst, `,"tier_name":`...)
	dst = AppendString(dst, st.TierName)
	dst = append(dst, `,"next_tier":`...)
	dst = appendNextTier(dst, &st)
	dst = append(dst, `,"lifetime_spend":`...)
	dst = appendMoney(dst, a.Lifetime)
	dst = append(dst, `,"credits":{"free":`...)
	dst = appendMoney(dst, a.Free)
	dst = append(dst, `,"purchased":`...)
	dst = appendMoney(dst, a.Purchased)
	dst = append(dst, `},"open_bill":`...)
	dst = appendMoney(dst, a.OpenBill)
	dst = append(dst, `,"usage_limit":`...)
	if a.UsageLimit == ledger.NoUsageLimit {
		dst = append(dst, "null"...)
	} else {
		dst = appendMoney(dst, a.UsageLimit)
	}
	dst = append(dst, `,"suspended":`...)
	dst = appendBool(dst, a.Suspended)
	dst = append(dst, `,"blocked_by":`...)
	dst = append(dst, blockedBy(a)...)
	dst = append(dst, `,"overrides":`...)
	dst = appendOverrides(dst, a.Overrides)
	dst = append(dst, `,"limits":`...)
	return append(appendLimits(dst, &st), '}')
}

// blockedBy returns, as JSON, the reason that denies every check of the account, or
// null.
func blockedBy(a *ledger.Account) string {
	switch {
	case a.Suspended:
		return `"suspended"`
	case a.Blocked():
		return `"usage_limit"`
	}
	return "null"
}

func appendLimits(dst []byte, st *ledger.Standing) []byte {
	dst = append(dst, '{')
	for i, name := range st.Categories {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, name), ":["...)
		limits := st.Limits[name]
		for j := range limits {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = appendSource(appendLimit(dst, &limits[j]), &limits[j])
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// AccountResponse is the answer to GET /v1/accounts/{id}.
type AccountResponse struct {
	ID            string                   `json:"id"`
	Plan          string                   `json:"plan"`
	Tier          int                      `json:"tier"`
	TierName      string                   `json:"tier_name"`
	NextTier      *NextTier                `json:"next_tier"` // nil in the highest tier
	LifetimeSpend string                   `json:"lifetime_spend"`
	Credits       Credits                  `json:"credits"`
	OpenBill      string                   `json:"open_bill"`
	UsageLimit    *string                  `json:"usage_limit"` // nil: not set
	Suspended     bool                     `json:"suspended"`
	BlockedBy     *string                  `json:"blocked_by"` // usage_limit, suspended or nil
	Overrides     []Override               `json:"overrides"`
	Limits        map[string][]LimitStatus `json:"limits"`

	Raw json.RawMessage `json:"-"` // the body as received
}

// Override is a rule for one account, for the models that match a pattern or for a
// category.
type Override struct {
	Match     string              `json:"match,omitempty"`
	Category  string              `json:"category,omitempty"`
	Limits    *[]ledger.LimitRule `json:"limits,omitempty"` // nil: inherited from the policy; empty: unlimited
	MinTier   *int                `json:"min_tier,omitempty"`
	ExpiresAt string              `json:"expires_at,omitempty"` // RFC 3339
}

// NextTier is the next tier and the spend that it still needs, in dollars.
type NextTier struct {
	Tier        int    `json:"tier"`
	SpendNeeded string `json:"spend_needed"`
}

// Credits are the balances of an account, in dollars.
type Credits struct {
	Free      string `json:"free"`
	Purchased string `json:"purchased"`
}
