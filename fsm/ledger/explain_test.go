package ledger_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// The last step of an explanation agrees with the ruling.
func TestExplainAgreesWithRule(t *testing.T) {
	table, err := ledger.Compile(1, ledger.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	paid := func(dollars int64, change func(*ledger.Account)) *ledger.Account {
		a := ledger.NewAccount("acme")
		a.Lifetime = ledger.Money(dollars) * ledger.Dollar
		if change != nil {
			change(&a)
		}
		return &a
	}
	llm := bucket.Check{Account: "acme", Category: "llm", Requests: 1}
	pro := bucket.Check{Account: "acme", Model: "black-forest-labs/FLUX.1-pro", Requests: 1}
	for _, c := range []struct {
		name    string
		account *ledger.Account
		check   bucket.Check
		last    ledger.Step
	}{
		{"unknown account", nil, llm, ledger.Step{Rule: "min_tier", Outcome: "denied", Detail: "$5.00 more"}},
		{"tier 1", paid(5, nil), llm, ledger.Step{Rule: "limits", Outcome: "tier", Detail: "tier 1's limits for llm"}},
		{"needs tier 2", paid(5, nil), pro, ledger.Step{Rule: "min_tier", Outcome: "denied", Detail: "tier 2 is needed"}},
		{"has tier 2", paid(50, nil), pro, ledger.Step{Rule: "limits", Outcome: "tier", Detail: "unlimited"}},
		{"suspended", paid(50, func(a *ledger.Account) { a.Suspended = true }), llm, ledger.Step{Rule: "suspended", Outcome: "denied"}},
		{"blocked", paid(50, func(a *ledger.Account) { a.UsageLimit = 0 }), llm, ledger.Step{Rule: "usage_limit", Outcome: "denied", Detail: "$0.00"}},
		{"a larger plan", paid(0, func(a *ledger.Account) { a.Plan = ledger.Scale }), llm, ledger.Step{Rule: "limits", Outcome: "tier", Detail: "tier 5's"}},
		{"unknown", nil, bucket.Check{Account: "acme", Category: "video"}, ledger.Step{Rule: "category", Outcome: "denied"}},
	} {
		steps := table.Explain(c.account, &c.check)
		last := steps[len(steps)-1]
		if last.Rule != c.last.Rule || last.Outcome != c.last.Outcome || !strings.Contains(last.Detail, c.last.Detail) {
			t.Errorf("%s: ends with %+v, want %+v", c.name, last, c.last)
		}
		denied := last.Outcome == "denied"
		if r := table.Rule(c.account, &c.check); denied != (r.Reason != bucket.OK) {
			t.Errorf("%s: explained as denied %v, ruled %v", c.name, denied, r.Reason)
		}
	}
}

// For any policy, account and check, the explanation is denied by the rule that denies the
// check, and names the source of the limits.
func TestExplainAgreesWithRuleOnAnything(t *testing.T) {
	const policy = `{schema: 1, categories: {llm: {}, image: {min_tier: 2}, free: {min_tier: 0}, closed: {min_tier: 2}}, tiers: [
		{level: 1, spend: "5", limits: {llm: [{unit: requests, limit: 10, window: 1m}]}},
		{level: 2, spend: "50", limits: {llm: [{unit: requests, limit: 20, window: 1m}, {unit: tokens, limit: 9, window: 1h}], free: []}}],
		models: [{match: "a*", category: llm}, {match: "b*", category: image, min_tier: 1}],
		exceptions: [{match: "a-x", category: llm, limits: {"1": [{unit: requests, limit: 3, window: 1m}], "2": []}}, {match: "c*", category: llm, min_tier: 2}]}`
	table, err := ledger.Compile(1, []byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	limits := []ledger.LimitRule{{Unit: "requests", Limit: 5, Window: "1m"}}
	denies := map[bucket.Reason]string{
		bucket.UnknownModel: "category", bucket.Suspended: "suspended", bucket.FreeTier: "min_tier", bucket.TierAccess: "min_tier", bucket.UsageLimit: "usage_limit",
	}
	rapid.Check(t, func(t *rapid.T) {
		var a *ledger.Account
		if rapid.Bool().Draw(t, "seen") {
			made := ledger.NewAccount("acme")
			made.Lifetime = ledger.Money(rapid.SampledFrom([]int64{0, 5, 49, 50}).Draw(t, "spend")) * ledger.Dollar
			made.Suspended = rapid.Bool().Draw(t, "suspended")
			made.Plan = rapid.SampledFrom([]ledger.Plan{ledger.Build, ledger.Scale}).Draw(t, "plan")
			made.UsageLimit = rapid.SampledFrom([]ledger.Money{ledger.NoUsageLimit, 0}).Draw(t, "usage limit")
			var rules []ledger.OverrideRule
			for _, one := range []ledger.OverrideRule{{Match: "a-*"}, {Category: "llm"}, {Category: "closed"}} {
				one.Limits = rapid.SampledFrom([]*[]ledger.LimitRule{nil, {}, &limits}).Draw(t, "limits")
				if min := rapid.IntRange(-1, 3).Draw(t, "min"); min >= 0 {
					one.MinTier = &min
				}
				rules = append(rules, one)
			}
			if made.Overrides, err = ledger.CompileOverrides(rules); err != nil {
				t.Fatal(err)
			}
			a = &made
		}
		c := &bucket.Check{
			Model:    rapid.SampledFrom([]string{"", "a-x", "a-y", "b", "c", "d"}).Draw(t, "model"),
			Category: rapid.SampledFrom([]string{"", "llm", "image", "free", "closed", "video"}).Draw(t, "category"),
		}
		r, steps := table.Rule(a, c), table.Explain(a, c)
		last := steps[len(steps)-1]
		for _, s := range steps[:len(steps)-1] {
			if s.Outcome != "passed" {
				t.Errorf("%+v before the last", s)
			}
		}
		if rule := denies[r.Reason]; rule != "" {
			if last.Rule != rule || last.Outcome != "denied" {
				t.Errorf("ruled %v, explained by %+v", r.Reason, last)
			}
			return
		}
		if last.Rule != "limits" || strings.HasSuffix(last.Detail, "unlimited") != (len(r.Limits) == 0) {
			t.Errorf("ruled %+v, explained by %+v", r, last)
		}
		for _, l := range r.Limits {
			if last.Outcome != l.Source.String() {
				t.Errorf("limits from %s, explained by %+v", l.Source, last)
			}
		}
	})
}
