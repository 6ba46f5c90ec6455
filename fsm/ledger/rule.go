package ledger

import (
	"slices"

	"quorate/limiter/bucket"
)

// Rule decides all of a check that needs no bucket. An account never seen is
// nil; it is at tier 0.
func (t *Table) Rule(a *Account, c *bucket.Check) bucket.Ruling {
	cat, need := t.classify(c)
	if cat == nil {
		return bucket.Ruling{Reason: bucket.UnknownModel}
	}
	at := t.tierOf(a)
	r := bucket.Ruling{Tier: t.tiers[at].level, Category: cat.name}
	if a != nil && a.Suspended {
		r.Reason = bucket.Suspended
		return r
	}
	by := at // whose limits hold
	if a != nil && a.Plan != Build {
		by = len(t.tiers) - 1
	} else if lacking := t.lacking(at, need, cat); lacking > at {
		r.Reason = bucket.TierAccess
		if at == 0 {
			r.Reason = bucket.FreeTier
		}
		r.RequiredTier = t.tiers[lacking].level
		r.SpendNeeded = int64(t.missing(a, lacking))
		return r
	}
	if a != nil && a.Blocked() {
		r.Reason = bucket.UsageLimit
		return r
	}
	r.Limits = t.tiers[by].limits[cat.name]
	return r
}

// classify finds the category of a check and the tier it needs; nil when no
// rule knows the model and the request names no known category.
func (t *Table) classify(c *bucket.Check) (cat *category, need int) {
	name := c.Category
	if c.Model != "" {
		for i := range t.models {
			if m := &t.models[i]; matches(m.match, c.Model) {
				name, need = m.category, m.minTier
				break
			}
		}
	}
	if cat = t.categories[name]; cat != nil {
		need = max(need, cat.minTier)
	}
	return cat, need
}

// lacking returns the index of the lowest tier that gives access, at or above
// the account's own. A category that some tier limits needs a tier that names
// it.
func (t *Table) lacking(at, need int, cat *category) int {
	at = max(at, t.byLevel[need])
	if !cat.limited {
		return at
	}
	for i := at; i < len(t.tiers); i++ {
		if _, ok := t.tiers[i].limits[cat.name]; ok {
			return i
		}
	}
	return len(t.tiers) - 1
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
	Limits     map[string][]bucket.Scoped // shared, not to be changed
	Categories []string                   // the keys of Limits, sorted
}

// Standing returns where the account stands and the limits it has.
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
	for name := range s.Limits {
		s.Categories = append(s.Categories, name)
	}
	slices.Sort(s.Categories)
	return s
}
