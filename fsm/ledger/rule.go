package ledger

import (
	"slices"

	"quorate/limiter/bucket"
)

// found is what the rules say of one check, before anything is decided.
type found struct {
	category    *category // nil: no rule knows the model and the category
	at          int       // index of the account's tier
	by          int       // index of the tier whose limits hold; above at for the larger plans
	need        int       // level of the tier that is needed
	modelRule   string    // the match of the rule in models, if one matched
	exception   *exception
	forModel    *Override
	forCategory *Override
}

// find looks all rules up that bear on a check.
func (t *Table) find(a *Account, c *bucket.Check) found {
	f := found{at: t.tierOf(a)}
	f.by = f.at
	if a != nil && a.Plan != Build {
		f.by = len(t.tiers) - 1
	}
	name := c.Category
	if c.Model != "" {
		classified := false
		for i := range t.models {
			if m := &t.models[i]; matches(m.match, c.Model) {
				name, f.need, f.modelRule, classified = m.category, m.minTier, m.match, true
				break
			}
		}
		for i := range t.exceptions {
			if e := &t.exceptions[i]; matches(e.match, c.Model) {
				f.exception = e
				f.need = max(f.need, e.minTier)
				if !classified && e.category != "" {
					name = e.category
				}
				break
			}
		}
	}
	if f.category = t.categories[name]; f.category == nil {
		return f
	}
	f.need = max(f.need, f.category.minTier)
	f.forModel, f.forCategory = a.overrides(c.Model, name)
	switch {
	case f.forModel != nil && f.forModel.MinTier != NoMinTier:
		f.need = f.forModel.MinTier
	case f.forCategory != nil && f.forCategory.MinTier != NoMinTier:
		f.need = f.forCategory.MinTier
	}
	return f
}

// limits returns the limits that hold for the tier with the given index, by
// the first rule that gives some. ok is false where the category is limited in
// other tiers and this one does not name it: no access.
func (f *found) limits(t *Table, at int) (limits []bucket.Scoped, ok bool) {
	switch {
	case f.forModel != nil && f.forModel.Given:
		return f.forModel.Limits, true
	case f.forCategory != nil && f.forCategory.Given:
		return f.forCategory.Limits, true
	case f.exception != nil && f.exception.limits[at] != nil:
		return f.exception.limits[at], true
	}
	limits, named := t.tiers[at].limits[f.category.name]
	return limits, named || !f.category.limited
}

// lacking returns the index of the tier that the account would need for
// access, and false when it has it. Without any such tier the index is 0.
func (f *found) lacking(t *Table, a *Account) (at int, lacks bool) {
	if a != nil && a.Plan != Build {
		return 0, false
	}
	for at := f.at; at < len(t.tiers); at++ {
		if _, ok := f.limits(t, at); ok && t.tiers[at].level >= f.need {
			return at, at != f.at
		}
	}
	return 0, true
}

// Rule decides all of a check that needs no bucket. An account never seen is
// nil; it is at tier 0.
func (t *Table) Rule(a *Account, c *bucket.Check) bucket.Ruling {
	f := t.find(a, c)
	if f.category == nil {
		return bucket.Ruling{Reason: bucket.UnknownModel}
	}
	r := bucket.Ruling{Tier: t.tiers[f.at].level, Category: f.category.name}
	if a != nil && a.Suspended {
		r.Reason = bucket.Suspended
		return r
	}
	if at, lacks := f.lacking(t, a); lacks {
		r.Reason = bucket.TierAccess
		if r.Tier == 0 {
			r.Reason = bucket.FreeTier
		}
		r.RequiredTier = t.tiers[at].level
		r.SpendNeeded = int64(t.missing(a, at))
		return r
	}
	if a != nil && a.Blocked() {
		r.Reason = bucket.UsageLimit
		return r
	}
	r.Limits, _ = f.limits(t, f.by)
	return r
}

// tierOf returns the index of the tier that the account's lifetime spend has
// reached.
func (t *Table) tierOf(a *Account) int {
	at := 0
	if a != nil {
		for at+1 < len(t.tiers) && a.Lifetime >= t.tiers[at+1].spend {
			at++
		}
	}
	return at
}

// Level returns the level of the account's tier.
func (t *Table) Level(a *Account) int { return t.tiers[t.tierOf(a)].level }

func (t *Table) missing(a *Account, at int) Micros {
	if a == nil {
		return t.tiers[at].spend
	}
	return max(0, t.tiers[at].spend-a.Lifetime)
}

// Standing is an account's place in the policy.
type Standing struct {
	Tier       int
	TierName   string
	Next       int                        // level of the next tier; 0 at the highest
	NextNeeded Micros                     // what is missing to it
	Limits     map[string][]bucket.Scoped // by category; shared, not to be changed
	Categories []string                   // the keys of Limits, sorted
}

// Standing returns where the account stands and the limits it has in each
// category.
func (t *Table) Standing(a *Account) Standing {
	at := t.tierOf(a)
	s := Standing{Tier: t.tiers[at].level, TierName: t.tiers[at].name}
	if at+1 < len(t.tiers) {
		s.Next, s.NextNeeded = t.tiers[at+1].level, t.missing(a, at+1)
	}
	by := at
	if a != nil && a.Plan != Build {
		by = len(t.tiers) - 1
	}
	s.Limits = t.tiers[by].limits
	if a != nil && a.Overrides != nil {
		s.Limits = t.overridden(a, s.Limits)
	}
	for name := range s.Limits {
		s.Categories = append(s.Categories, name)
	}
	slices.Sort(s.Categories)
	return s
}

// overridden returns the limits with the account's own put in their place.
func (t *Table) overridden(a *Account, limits map[string][]bucket.Scoped) map[string][]bucket.Scoped {
	out := make(map[string][]bucket.Scoped, len(limits))
	for name, l := range limits {
		out[name] = l
	}
	for _, o := range a.Overrides.List {
		if o.Category != "" && o.Given && t.categories[o.Category] != nil {
			out[o.Category] = o.Limits
		}
	}
	return out
}
