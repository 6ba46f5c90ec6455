package ledger

import (
	"fmt"

	"quorate/limiter/bucket"
)

// Step is one rule that was asked, in order, and what came of it.
type Step struct {
	Rule    string // suspended, category, min_tier, usage_limit or limits
	Outcome string // passed, denied or, of limits, the source
	Detail  string
}

// Explain says how Rule comes to its ruling: from the same look-ups, in the
// same order, up to the first that denies.
func (t *Table) Explain(a *Account, c *bucket.Check) []Step {
	f := t.find(a, c)
	if f.category == nil {
		return []Step{{"category", "denied", "no rule knows the model, and the policy has no such category"}}
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

// classified says where the category comes from.
func (f *found) classified(c *bucket.Check) string {
	switch {
	case f.modelRule != "":
		return fmt.Sprintf("%s: the model matches %q", f.category.name, f.modelRule)
	case f.exception != nil && f.category.name != c.Category:
		return fmt.Sprintf("%s: the model matches the exception %q", f.category.name, f.exception.match)
	}
	return f.category.name + ": as the request says"
}

// gate says which tier is needed and whether the account has it.
func (f *found) gate(t *Table, a *Account, r *bucket.Ruling) Step {
	have := fmt.Sprintf("the account is at tier %d", t.tiers[f.at].level)
	switch {
	case a != nil && a.Plan != Build:
		return Step{"min_tier", "passed", "the plan " + a.Plan.String() + " passes every tier"}
	case r.Reason == bucket.OK || r.Reason == bucket.UsageLimit:
		return Step{"min_tier", "passed", fmt.Sprintf("tier %d is needed, %s", f.need, have)}
	}
	if _, ok := f.limits(t, f.at); !ok && t.tiers[f.at].level >= f.need {
		have += ", which has no limits for " + f.category.name
	}
	if r.SpendNeeded == 0 {
		return Step{"min_tier", "denied", "no tier gives access; " + have}
	}
	return Step{"min_tier", "denied", fmt.Sprintf("tier %d is needed, %s; $%s more must be paid", r.RequiredTier, have, Micros(r.SpendNeeded))}
}

// source says which rule the limits come from.
func (f *found) source(t *Table, limits []bucket.Scoped) (source, detail string) {
	switch {
	case f.forModel != nil && f.forModel.Given:
		source, detail = bucket.SourceOverride.String(), fmt.Sprintf("the account's override for %q", f.forModel.Match)
	case f.forCategory != nil && f.forCategory.Given:
		source, detail = bucket.SourceOverride.String(), "the account's override for "+f.forCategory.Category
	case f.exception != nil && f.exception.limits[f.by] != nil:
		source, detail = bucket.SourceException.String(), fmt.Sprintf("the policy's exception for %q", f.exception.match)
	default:
		source, detail = bucket.SourceTier.String(), fmt.Sprintf("tier %d's limits for %s", t.tiers[f.by].level, f.category.name)
	}
	if len(limits) == 0 {
		detail += ": unlimited"
	}
	return source, detail
}
