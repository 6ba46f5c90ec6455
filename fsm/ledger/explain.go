package ledger

import (
	"fmt"

	"quorate/limiter/bucket"
)

// Step is one rule and its outcome.
type Step struct {
	Rule    string // suspended, category, min_tier, usage_limit or limits
	Outcome string // passed or denied; for limits the source of the limits
	Detail  string
}

// Explain returns the rules that Rule evaluates for a check, in the same order, up to the
// first rule that denies.
func (t *Table) Explain(a *Account, c *bucket.Check) []Step {
	f := t.match(a, c)
	if f.category == nil {
		return []Step{{"category", "denied", "no rule matches the model, and the policy has no such category"}}
	}
	r := t.Rule(a, c)
	steps := []Step{{"category", "passed", f.classified(c)}}
	if r.Reason == bucket.Suspended {
		return append(steps, Step{"suspended", "denied", "an operator has suspended the account"})
	}
	steps = append(steps, Step{"suspended", "passed", "the account is not suspended"}, f.gate(t, a, &r))
	switch r.Reason {
	case bucket.FreeTier, bucket.TierAccess:
		return steps
	case bucket.UsageLimit:
		return append(steps, Step{"usage_limit", "denied", fmt.Sprintf("no credits are left, and the open bill of $%s has reached the limit of $%s", a.OpenBill, a.UsageLimit)})
	}
	steps = append(steps, Step{"usage_limit", "passed", "the account is not blocked"})
	source, detail := f.source(t, r.Limits)
	return append(steps, Step{"limits", source, detail})
}

// classified describes the rule that determined the category.
func (f *matched) classified(c *bucket.Check) string {
	switch {
	case f.modelRule != "":
		return fmt.Sprintf("%s: the model matches %q", f.category.name, f.modelRule)
	case f.exception != nil && f.category.name != c.Category:
		return fmt.Sprintf("%s: the model matches the exception %q", f.category.name, f.exception.match)
	}
	return f.category.name + ": from the request"
}

// gate describes the tier that the check requires and that of the account.
func (f *matched) gate(t *Table, a *Account, r *bucket.Ruling) Step {
	have := fmt.Sprintf("the account is at tier %d", t.tiers[f.tier].level)
	switch {
	case a != nil && a.Plan != Build:
		return Step{"min_tier", "passed", "the plan " + a.Plan.String() + " passes every tier"}
	case r.Reason == bucket.OK || r.Reason == bucket.UsageLimit:
		return Step{"min_tier", "passed", fmt.Sprintf("tier %d is needed, %s", f.need, have)}
	}
	if _, ok := f.limits(t, f.tier); !ok && t.tiers[f.tier].level >= f.need {
		have += ", which has no limits for " + f.category.name
	}
	if r.SpendNeeded == 0 {
		return Step{"min_tier", "denied", "no tier gives access; " + have}
	}
	return Step{"min_tier", "denied", fmt.Sprintf("tier %d is needed, %s; $%s more must be paid", r.RequiredTier, have, Money(r.SpendNeeded))}
}

// source describes the rule that the limits come from.
func (f *matched) source(t *Table, limits []bucket.Scoped) (source, detail string) {
	switch {
	case f.forModel != nil && f.forModel.Given:
		source, detail = bucket.SourceOverride.String(), fmt.Sprintf("the account's override for %q", f.forModel.Match)
	case f.forCategory != nil && f.forCategory.Given:
		source, detail = bucket.SourceOverride.String(), "the account's override for "+f.forCategory.Category
	case f.exception != nil && f.exception.limits[f.limitTier] != nil:
		source, detail = bucket.SourceException.String(), fmt.Sprintf("the policy's exception for %q", f.exception.match)
	default:
		source, detail = bucket.SourceTier.String(), fmt.Sprintf("tier %d's limits for %s", t.tiers[f.limitTier].level, f.category.name)
	}
	if len(limits) == 0 {
		detail += ": unlimited"
	}
	return source, detail
}
