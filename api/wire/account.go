package wire

import (
	"encoding/json"
	"strconv"

	"quorate/fsm/ledger"
)

// ParsePatch reads the body of PATCH /v1/accounts/{id}. A null usage_limit
// takes the limit away; there is no other null.
func ParsePatch(s *Scanner) (ledger.Patch, error) {
	var p ledger.Patch
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

func patchField(s *Scanner, seen *Fields, name string, p *ledger.Patch) {
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
		s.Fail("null is no plan")
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
	default:
		s.Unknown(name)
	}
}

// Money reads an amount: a string, because a JSON number would lose cents to a
// float somewhere on its way.
func (s *Scanner) Money() ledger.Micros {
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

// AppendAccount appends an account and where it stands in the policy.
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
	if st.Next == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, `{"tier":`...)
		dst = strconv.AppendInt(dst, int64(st.Next), 10)
		dst = append(dst, `,"spend_needed":`...)
		dst = append(appendMoney(dst, st.NextNeeded), '}')
	}
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
	dst = append(dst, `,"overrides":[],"limits":`...)
	return append(appendLimits(dst, &st), '}')
}

// blockedBy names, as JSON, the switch that a check would meet first.
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

// AccountResponse is an account as a client reads it.
type AccountResponse struct {
	ID            string                   `json:"id"`
	Plan          string                   `json:"plan"`
	Tier          int                      `json:"tier"`
	TierName      string                   `json:"tier_name"`
	NextTier      *NextTier                `json:"next_tier"` // nil at the highest
	LifetimeSpend string                   `json:"lifetime_spend"`
	Credits       Credits                  `json:"credits"`
	OpenBill      string                   `json:"open_bill"`
	UsageLimit    *string                  `json:"usage_limit"` // nil: not set
	Suspended     bool                     `json:"suspended"`
	BlockedBy     *string                  `json:"blocked_by"` // usage_limit, suspended or nil
	Limits        map[string][]LimitStatus `json:"limits"`

	Raw json.RawMessage `json:"-"` // the body as it came
}

// NextTier is the tier above and what is missing to it.
type NextTier struct {
	Tier        int    `json:"tier"`
	SpendNeeded string `json:"spend_needed"`
}

// Credits are what an account holds of either kind.
type Credits struct {
	Free      string `json:"free"`
	Purchased string `json:"purchased"`
}
