package ledger_test

import (
	"fmt"
	"math/big"
	"strings"

	"quorate/fsm/ledger"
)

// describe formats an account for comparison and for messages.
func describe(id string, a plainAccount) string {
	limit := "none"
	if a.limit != nil {
		limit = a.limit.String()
	}
	return fmt.Sprintf("%s %s suspended=%t lifetime=%s free=%s purchased=%s bill=%s limit=%s %s",
		id, a.plan, a.suspended, a.lifetime, a.free, a.purchased, a.bill, limit, describeOverrides(a.overrides))
}

func describeOverrides(rules []ledger.OverrideRule) string {
	lines := make([]string, 0, len(rules))
	for _, r := range rules {
		need, limits := "inherit", "inherit"
		if r.MinTier != nil {
			need = fmt.Sprint(*r.MinTier)
		}
		if r.Limits != nil {
			limits = fmt.Sprint(*r.Limits)
		}
		lines = append(lines, fmt.Sprintf("[%s%s need=%s limits=%s until=%d]", r.Match, r.Category, need, limits, r.ExpiresAt))
	}
	return strings.Join(lines, "")
}

// asPlain converts an account of a state to the form of the model.
func asPlain(a *ledger.Account) plainAccount {
	if a == nil {
		return fresh()
	}
	p := plainAccount{
		plan: a.Plan.String(), suspended: a.Suspended,
		lifetime: big.NewInt(int64(a.Lifetime)), free: big.NewInt(int64(a.Free)), purchased: big.NewInt(int64(a.Purchased)), bill: big.NewInt(int64(a.OpenBill)),
		overrides: asRules(a.Overrides),
	}
	if a.UsageLimit != ledger.NoUsageLimit {
		p.limit = big.NewInt(int64(a.UsageLimit))
	}
	return p
}

// asRules converts overrides to the form of the API.
func asRules(o *ledger.Overrides) (rules []ledger.OverrideRule) {
	if o == nil {
		return nil
	}
	for _, one := range o.List {
		r := ledger.OverrideRule{Match: one.Match, Category: one.Category, ExpiresAt: one.ExpiresAt}
		if one.MinTier != ledger.NoMinTier {
			r.MinTier = &one.MinTier
		}
		if one.Given {
			limits := ledger.Rules(one.Limits)
			r.Limits = &limits
		}
		rules = append(rules, r)
	}
	return rules
}
