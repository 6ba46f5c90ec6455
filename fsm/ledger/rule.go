package ledger

import (
	"slices"

	"quorate/limiter/bucket"
)

// matched holds the rules that apply to one check.
type matched struct {
	category    *category // nil if no rule matches the model and the category
	tier        int       // index of the account's tier
	limitTier   int       // index of the tier whose limits apply; the highest for Scale and Enterprise
	need        int       // level of the tier that the check requires
	modelRule   string    // pattern of the matching rule in models, empty if there is none
	exception   *exception
	forModel    *Override
	forCategory *Override
}

// match returns the rules that apply to a check.
func (t *Table) match(a *Account, c *bucket.Check) matched {
	f := matched{tier: t.tierOf(a)}
	f.limitTier = f.tier
	if a != nil && a.Plan != Build {
		f.limitTier = len(t.tiers) - 1
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

// limits returns the limits for the tier with the given index, from the first rule that
// has limits. ok is false if the tier has no access: other tiers limit the category, and
// this tier does not contain it.
func (f *matched) limits(t *Table, at int) (limits []bucket.Scoped, ok bool) {
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

// lacking reports whether the account lacks access. at is the index of the lowest tier
// that has access, 0 if no tier has.
func (f *matched) lacking(t *Table, a *Account) (at int, lacks bool) {
	if a != nil && a.Plan != Build {
		return 0, false
	}
	for at := f.tier; at < len(t.tiers); at++ {
		if _, ok := f.limits(t, at); ok && t.tiers[at].level >= f.need {
			return at, at != f.tier
		}
	}
	return 0, true
}

// Rule decides everything about a check that needs no bucket. a is nil if the account does
// not exist; it then has the free tier.
func (t *Table) Rule(a *Account, c *bucket.Check) bucket.Ruling {
	f := t.match(a, c)
	if f.category == nil {
		return bucket.Ruling{Reason: bucket.UnknownModel}
	}
	r := bucket.Ruling{Tier: t.tiers[f.tier].level, Category: f.category.name}
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
	r.Limits, _ = f.limits(t, f.limitTier)
	return r
}

// tierOf returns the index of the highest tier that the account's lifetime spend reaches.
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

func (t *Table) missing(a *Account, at int) Money {
	if a == nil {
		return t.tiers[at].spend
	}
	return max(0, t.tiers[at].spend-a.Lifetime)
}

// Standing is the tier of an account and the limits that follow from it.
type Standing struct {
	Tier       int
	TierName   string
	Next       int                        // level of the next tier; 0 in the highest tier
	NextNeeded Money                      // spend that the next tier still needs
	Limits     map[string][]bucket.Scoped // by category; callers must not change it
	Categories []string                   // the keys of Limits, sorted
}

// Standing returns the account's tier and its limits in each category.
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

// overridden returns the limits with the account's overrides of categories applied.
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
