package ledger_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

const small = `
schema: 1
categories: {llm: {min_tier: 1}, free: {min_tier: 0}, audio: {}}
tiers:
  - {level: 0, spend: "0", limits: {free: [{unit: requests, limit: 1, window: 1s}]}}
  - {level: 1, spend: "5.00", limits: {llm: [{unit: requests, limit: 10, window: 1m}, {unit: tokens, limit: 100, window: 1h}]}}
  - {level: 3, spend: "50", limits: {llm: [{unit: requests, limit: 30, window: 1m}], audio: [{unit: requests, limit: 5, window: 1m, algorithm: sliding_window}]}}
models:
  - {match: "acme/big*", category: llm, min_tier: 2}
exceptions:
  - {match: "acme/popular", category: llm, limits: {"1": [{unit: requests, limit: 3, window: 1m}], "3": []}}
  - {match: "acme/big-new", min_tier: 3}
`

func compile(t *testing.T, doc string) *ledger.Table {
	t.Helper()
	table, err := ledger.Compile(2, []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func paying(spend string) *ledger.Account {
	a := ledger.NewAccount("acme")
	m, err := ledger.ParseMoney(spend)
	if err != nil {
		panic(err)
	}
	a.Lifetime = m
	return &a
}

// Each single fault is reported with its path.
func TestBadPoliciesNameThePath(t *testing.T) {
	for _, c := range []struct{ from, to, path string }{
		{"schema: 1", "schema: 2", "schema"},
		{"schema: 1\n", "", "schema"},
		{"schema: 1", "schema: 1\ncolour: red", "colour"},
		{"schema: 1", "schema: 1\npartition: half", "partition"},
		{"schema: 1", "schema: 1\nreplication: {mode: never}", "replication.mode"},
		{"schema: 1", `schema: 1` + "\n" + `replication: {slack: "5"}`, "replication.slack"},
		{"schema: 1", "schema: 1\nschema: 1", "schema"},
		{"llm: {min_tier: 1}", "llm: {min_tier: 4}", "categories.llm.min_tier"},
		{"llm: {min_tier: 1}", "llm: {min_tier: -1}", "categories.llm.min_tier"},
		{"llm: {min_tier: 1}", "llm: {min_tier: 1.0}", "categories.llm.min_tier"},
		{"llm: {min_tier: 1}", "llm: {max_tier: 1}", "categories.llm.max_tier"},
		{"llm: {min_tier: 1}", "llm: {min_tier: 1}, -x: {}", "categories.-x"},
		{"level: 3", "level: 1", "tiers[2].level"},
		{"level: 3", "level: 101", "tiers[2].level"},
		{"{level: 3, ", "{", "tiers[2].level"},
		{`spend: "50"`, `spend: "5"`, "tiers[2].spend"},
		{`spend: "50"`, `spend: 50`, "tiers[2].spend"},
		{`spend: "50"`, `spend: "50.1234567891"`, "tiers[2].spend"},
		{`spend: "0"`, `spend: "1"`, "tiers[0].spend"},
		{"audio: [", "video: [", "tiers[2].limits.video"},
		{"unit: tokens", "unit: words", "tiers[1].limits.llm[1].unit"},
		{"limit: 100,", "limit: 0,", "tiers[1].limits.llm[1].limit"},
		{"limit: 100,", "limit: 1000000001,", "tiers[1].limits.llm[1].limit"},
		{"limit: 100,", "limit: 1e2,", "tiers[1].limits.llm[1].limit"},
		{"window: 1h", "window: 1.5h", "tiers[1].limits.llm[1].window"},
		{"window: 1h", "window: 32d", "tiers[1].limits.llm[1].window"},
		{"unit: tokens, limit: 100, window: 1h", "unit: requests, limit: 100, window: 60s", "tiers[1].limits.llm[1]"},
		{"algorithm: sliding_window", "algorithm: guess", "tiers[2].limits.audio[0].algorithm"},
		{"algorithm: sliding_window", "algorithm: sliding_window, burst: 9", "tiers[2].limits.audio[0].burst"},
		{"acme/big*", "acme/big model", "models[0].match"},
		{`match: "acme/big*", category: llm`, `match: "acme/big*", category: lm`, "models[0].category"},
		{`match: "acme/big*", category: llm`, `category: llm`, "models[0].match"},
		{"min_tier: 2}", "min_tier: 9}", "models[0].min_tier"},
		{`{"1": [`, `{"2": [`, "exceptions[0].limits.2"},
		{`{"1": [`, `{"one": [`, "exceptions[0].limits.one"},
		{"schema: 1", "schema: &a 1\npartition: *a", "schema"},
		{"categories: {", "categories: [", ""},
		{"schema: 1", "schema: 1\n---\nschema: 1", ""},
	} {
		doc := strings.Replace(small, c.from, c.to, 1)
		if doc == small {
			t.Fatalf("%q is not in the document", c.from)
		}
		_, err := ledger.Compile(2, []byte(doc))
		var faults ledger.Faults
		if !errors.As(err, &faults) || !slices.ContainsFunc(faults, func(f ledger.Fault) bool { return f.Path == c.path }) {
			t.Errorf("%q for %q: got %v, want a fault at %q", c.to, c.from, err, c.path)
		}
	}
}

func TestEveryFaultIsNamed(t *testing.T) {
	doc := strings.NewReplacer("schema: 1", "schema: 7", "unit: tokens", "unit: words", "window: 1s", "window: 0s").Replace(small)
	var faults ledger.Faults
	if _, err := ledger.Compile(1, []byte(doc)); !errors.As(err, &faults) || len(faults) != 3 {
		t.Fatalf("got %v, want three faults", err)
	}
}

func TestPolicyAsJSON(t *testing.T) {
	doc := `{"schema":1,"categories":{"llm":{}},"tiers":[{"level":1,"spend":"5","limits":{"llm":[{"unit":"requests","limit":3,"window":"1m"}]}}],"models":[],"exceptions":null}`
	if _, err := ledger.Compile(1, []byte(doc)); err != nil {
		t.Fatal(err)
	}
}

func TestRulesInTheirOrder(t *testing.T) {
	table := compile(t, small)
	limited := func(a *ledger.Account, rules ...ledger.OverrideRule) *ledger.Account {
		o, err := ledger.CompileOverrides(rules)
		if err != nil {
			t.Fatal(err)
		}
		a.Overrides = o
		return a
	}
	two := &[]ledger.LimitRule{{Unit: "requests", Limit: 2, Window: "1m"}}
	none, zero := &[]ledger.LimitRule{}, 0
	scale := paying("0")
	scale.Plan = ledger.Scale
	for name, c := range map[string]struct {
		account *ledger.Account
		check   bucket.Check
		reason  bucket.Reason
		need    int    // RequiredTier
		limits  string // names of the limits
	}{
		"free tier may use what is free":   {nil, bucket.Check{Category: "free"}, bucket.OK, 0, "free-requests-1s"},
		"a tier that does not list it":     {paying("5"), bucket.Check{Category: "free"}, bucket.TierAccess, 0, ""},
		"free tier needs the first tier":   {nil, bucket.Check{Category: "llm"}, bucket.FreeTier, 1, ""},
		"limited only from a higher tier":  {paying("5"), bucket.Check{Category: "audio"}, bucket.TierAccess, 3, ""},
		"two limits":                       {paying("5"), bucket.Check{Category: "llm"}, bucket.OK, 0, "llm-requests-1m llm-tokens-1h"},
		"a level between two tiers":        {paying("5"), bucket.Check{Model: "ACME/big-1"}, bucket.TierAccess, 3, ""},
		"the exception's min_tier":         {paying("5"), bucket.Check{Model: "acme/big-new"}, bucket.TierAccess, 3, ""},
		"the exception's limits":           {paying("5"), bucket.Check{Model: "Acme/Popular"}, bucket.OK, 0, "acme/popular-requests-1m"},
		"an exception without limits":      {paying("50"), bucket.Check{Model: "acme/popular"}, bucket.OK, 0, ""},
		"the exception names the category": {paying("5"), bucket.Check{Model: "acme/popular", Category: "audio"}, bucket.OK, 0, "acme/popular-requests-1m"},
		"unknown model, known category":    {paying("5"), bucket.Check{Model: "x", Category: "llm"}, bucket.OK, 0, "llm-requests-1m llm-tokens-1h"},
		"unknown model":                    {paying("5"), bucket.Check{Model: "x"}, bucket.UnknownModel, 0, ""},
		"unknown category":                 {paying("5"), bucket.Check{Category: "x"}, bucket.UnknownModel, 0, ""},
		"override for the model wins": {
			limited(paying("5"), ledger.OverrideRule{Category: "llm", Limits: none}, ledger.OverrideRule{Match: "acme/Pop*", Limits: two}),
			bucket.Check{Model: "acme/popular"}, bucket.OK, 0, "acme/pop*-requests-1m",
		},
		"override for the category before the exception": {
			limited(paying("5"), ledger.OverrideRule{Category: "llm", Limits: two}),
			bucket.Check{Model: "acme/popular"}, bucket.OK, 0, "llm-requests-1m",
		},
		"override without limits inherits": {
			limited(paying("5"), ledger.OverrideRule{Match: "acme/popular", MinTier: &zero}),
			bucket.Check{Model: "acme/popular"}, bucket.OK, 0, "acme/popular-requests-1m",
		},
		"override's min_tier replaces all": {
			limited(paying("5"), ledger.OverrideRule{Match: "acme/big*", MinTier: &zero}),
			bucket.Check{Model: "acme/big-new"}, bucket.OK, 0, "llm-requests-1m llm-tokens-1h",
		},
		"an override gives access": {
			limited(paying("5"), ledger.OverrideRule{Category: "audio", Limits: none}),
			bucket.Check{Category: "audio"}, bucket.OK, 0, "",
		},
		"larger plans pass every gate": {scale, bucket.Check{Category: "audio"}, bucket.OK, 0, "audio-requests-1m"},
	} {
		r := table.Rule(c.account, &c.check)
		var names []string
		for _, l := range r.Limits {
			names = append(names, l.Name)
		}
		if r.Reason != c.reason || r.RequiredTier != c.need || strings.Join(names, " ") != c.limits {
			t.Errorf("%s: %v, tier %d needed, limits %v", name, r.Reason, r.RequiredTier, names)
		}
	}
}

func TestBadOverridesNameThePath(t *testing.T) {
	ninety := 101
	bad := &[]ledger.LimitRule{{Unit: "requests", Limit: 0, Window: "1m"}}
	for path, rules := range map[string][]ledger.OverrideRule{
		"overrides[0]":                 {{}},
		"overrides[1]":                 {{Category: "llm"}, {Category: "llm"}},
		"overrides[0].match":           {{Match: "a b"}},
		"overrides[0].category":        {{Category: "-"}},
		"overrides[0].min_tier":        {{Category: "llm", MinTier: &ninety}},
		"overrides[0].limits[0].limit": {{Category: "llm", Limits: bad}},
		"overrides":                    make([]ledger.OverrideRule, ledger.MaxOverrides+1),
	} {
		_, err := ledger.CompileOverrides(rules)
		var faults ledger.Faults
		if !errors.As(err, &faults) || faults[0].Path != path {
			t.Errorf("got %v, want a fault at %s", err, path)
		}
	}
}
