package ledger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

func mustTable(t testing.TB) *ledger.Table {
	t.Helper()
	table, err := ledger.Compile(1, ledger.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// spent returns an account that has purchased credits of the amount.
func spent(amount ledger.Money) *ledger.Account {
	a := ledger.NewAccount("acme")
	a.Lifetime, a.Purchased = amount, amount
	return &a
}

// tiers is the documented table of tiers, line by line.
var tiers = []struct {
	level                   int
	name, spend             string
	llm, embeddings, rerank int64
}{
	{1, "Build Tier 1", "5", 600, 3000, 500_000},
	{2, "Build Tier 2", "50", 1800, 5000, 1_500_000},
	{3, "Build Tier 3", "100", 3000, 5000, 2_000_000},
	{4, "Build Tier 4", "250", 4500, 10_000, 3_000_000},
	{5, "Build Tier 5", "1000", 6000, 10_000, 5_000_000},
}

func TestDefaultPolicyIsTheTierDocument(t *testing.T) {
	table := mustTable(t)
	for i, row := range tiers {
		until := ledger.MaxAmount
		if i+1 < len(tiers) {
			until = usd(tiers[i+1].spend) - 1
		}
		for _, amount := range []ledger.Money{usd(row.spend), usd(row.spend) + 1, until} {
			a := spent(amount)
			s := table.Standing(a)
			if s.Tier != row.level || s.TierName != row.name {
				t.Errorf("spent %s: at %d, %q; want %d, %q", amount, s.Tier, s.TierName, row.level, row.name)
			}
			if !slices.Equal(s.Categories, []string{"embeddings", "llm", "rerank"}) {
				t.Errorf("tier %d limits %v", row.level, s.Categories)
			}
			for _, want := range []struct {
				category string
				unit     bucket.Unit
				limit    int64
				name     string
			}{
				{"llm", bucket.Requests, row.llm, "llm-requests-1m"},
				{"embeddings", bucket.Requests, row.embeddings, "embeddings-requests-1m"},
				{"rerank", bucket.Tokens, row.rerank, "rerank-tokens-1m"},
			} {
				r := table.Rule(a, &bucket.Check{Account: "acme", Category: want.category, Requests: 1})
				limit := bucket.Scoped{
					Limit: bucket.Limit{Unit: want.unit, Limit: want.limit, Burst: want.limit, Window: time.Minute},
					Scope: want.category, Name: want.name, Source: bucket.SourceTier,
				}
				if r.Reason != bucket.OK || r.Tier != row.level || !slices.Equal(r.Limits, []bucket.Scoped{limit}) {
					t.Errorf("spent %s, %s: %+v, want tier %d and %+v", amount, want.category, r, row.level, limit)
				}
				if !slices.Equal(s.Limits[want.category], r.Limits) {
					t.Errorf("tier %d, %s: the account shows %+v", row.level, want.category, s.Limits[want.category])
				}
			}
			if r := table.Rule(a, &bucket.Check{Account: "acme", Category: "image"}); r.Reason != bucket.OK || len(r.Limits) != 0 {
				t.Errorf("image at tier %d: %+v, want no limit", row.level, r)
			}
		}
	}
}

func TestNextTier(t *testing.T) {
	table := mustTable(t)
	tests := []struct {
		spend  string
		tier   int
		next   int
		needed string
	}{
		{"0", 0, 1, "5"},
		{"4.99", 0, 1, "0.01"},
		{"4.999999", 0, 1, "0.000001"},
		{"5", 1, 2, "45"},
		{"49.99", 1, 2, "0.01"},
		{"50", 2, 3, "50"},
		{"88", 2, 3, "12"},
		{"100", 3, 4, "150"},
		{"250", 4, 5, "750"},
		{"999.999999", 4, 5, "0.000001"},
		{"1000", 5, 0, "0"},
		{"1000000000", 5, 0, "0"},
	}
	for _, tt := range tests {
		s := table.Standing(spent(usd(tt.spend)))
		if s.Tier != tt.tier || s.Next != tt.next || s.NextNeeded != usd(tt.needed) {
			t.Errorf("spent %s: tier %d, next %d for %s; want %d, %d for %s", tt.spend, s.Tier, s.Next, s.NextNeeded, tt.tier, tt.next, tt.needed)
		}
	}
	if s := table.Standing(nil); s.Tier != 0 || s.TierName != "Free" || s.Next != 1 || s.NextNeeded != usd("5") || len(s.Limits) != 0 {
		t.Errorf("an unknown account: %+v", s)
	}
}

func TestModelsNeedTheirTier(t *testing.T) {
	table := mustTable(t)
	models := []struct {
		model string
		need  int
	}{
		{"black-forest-labs/FLUX.1-schnell", 1},
		{"black-forest-labs/FLUX.1-schnell-Free", 1},
		{"black-forest-labs/FLUX.1-dev", 1},
		{"black-forest-labs/FLUX.1-dev-lora", 1},
		{"black-forest-labs/FLUX.1-canny", 1},
		{"black-forest-labs/FLUX.1-depth", 1},
		{"black-forest-labs/FLUX.1-redux", 1},
		{"black-forest-labs/FLUX.1-kontext-dev", 1},
		{"BLACK-FOREST-LABS/flux.1-SCHNELL", 1},
		{"black-forest-labs/FLUX.1-pro", 2},
		{"black-forest-labs/FLUX.1.1-pro", 2},
		{"black-forest-labs/flux.1.1-PRO", 2},
		{"black-forest-labs/FLUX.1-kontext-pro", 2},
		{"black-forest-labs/FLUX.1-kontext-max", 2},
		{"black-forest-labs/FLUX.2-whatever-may-come", 2},
		{"black-forest-labs/FLUX", 2},
	}
	accounts := []struct {
		a    *ledger.Account
		tier int
	}{
		{nil, 0},
		{spent(usd("4.99")), 0},
		{spent(usd("5.00")), 1},
		{spent(usd("49.99")), 1},
		{spent(usd("50.00")), 2},
		{spent(usd("1000")), 5},
	}
	spend := map[int]ledger.Money{1: usd("5"), 2: usd("50")}
	for _, m := range models {
		for _, at := range accounts {
			t.Run(fmt.Sprintf("%s at tier %d", m.model, at.tier), func(t *testing.T) {
				want := bucket.Ruling{Tier: at.tier, Category: "image"}
				if at.tier < m.need {
					want.Reason, want.RequiredTier = bucket.TierAccess, m.need
					if at.tier == 0 {
						want.Reason = bucket.FreeTier
					}
					want.SpendNeeded = int64(spend[m.need])
					if at.a != nil {
						want.SpendNeeded -= int64(at.a.Lifetime)
					}
				}
				// A caller cannot choose another category for a known model.
				for _, category := range []string{"", "llm"} {
					got := table.Rule(at.a, &bucket.Check{Account: "acme", Model: m.model, Category: category, Requests: 1})
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("got %+v, want %+v", got, want)
					}
				}
			})
		}
	}
}

func TestClassification(t *testing.T) {
	table := mustTable(t)
	tests := []struct {
		name            string
		model, category string
		want            string // category, "" for none
	}{
		{"the category alone", "", "llm", "llm"},
		{"a model no rule knows, with a category", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "llm", "llm"},
		{"a model no rule knows", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "", ""},
		{"a category the policy does not know", "", "video", ""},
		{"categories have a case", "", "LLM", ""},
		{"neither", "", "", ""},
		{"a model a rule knows, with a category it does not", "black-forest-labs/FLUX.1-dev", "video", "image"},
		{"a model that only ends like one", "someone/black-forest-labs/FLUX.1-dev", "", ""},
		{"a model that only starts like one", "black-forest-labs/FLU", "", ""},
	}
	for _, tt := range tests {
		r := table.Rule(spent(usd("5")), &bucket.Check{Account: "acme", Model: tt.model, Category: tt.category})
		if tt.want == "" && r.Reason != bucket.UnknownModel || tt.want != "" && (r.Reason == bucket.UnknownModel || r.Category != tt.want) {
			t.Errorf("%s: %+v, want category %q", tt.name, r, tt.want)
		}
	}
}

func TestOrderOfTheRules(t *testing.T) {
	table := mustTable(t)
	account := func(change func(*ledger.Account)) *ledger.Account {
		a := spent(usd("5"))
		change(a)
		return a
	}
	blocked := func(a *ledger.Account) { a.UsageLimit, a.Purchased = 0, 0 }
	const pro = "black-forest-labs/FLUX.1-pro"
	tests := []struct {
		name   string
		a      *ledger.Account
		model  string
		reason bucket.Reason
		limit  int64 // of llm
	}{
		{"nothing in the way", account(func(*ledger.Account) {}), "", bucket.OK, 600},
		{"suspended before all else", account(func(a *ledger.Account) { a.Suspended, a.Lifetime = true, 0; blocked(a) }), pro, bucket.Suspended, 0},
		{"the tier before the usage limit", account(blocked), pro, bucket.TierAccess, 0},
		{"the usage limit", account(blocked), "", bucket.UsageLimit, 0},
		{"free credits are no tier", account(func(a *ledger.Account) { a.Lifetime, a.Free = 0, usd("1000") }), "", bucket.FreeTier, 0},
		{"scale passes every gate, at the highest tier's limits", account(func(a *ledger.Account) { a.Plan, a.Lifetime = ledger.Scale, 0 }), "", bucket.OK, 6000},
		{"enterprise too", account(func(a *ledger.Account) { a.Plan = ledger.Enterprise }), "", bucket.OK, 6000},
		{"but not the switch", account(func(a *ledger.Account) { a.Plan, a.Suspended = ledger.Enterprise, true }), "", bucket.Suspended, 0},
		{"nor the usage limit", account(func(a *ledger.Account) { a.Plan = ledger.Scale; blocked(a) }), "", bucket.UsageLimit, 0},
	}
	for _, tt := range tests {
		r := table.Rule(tt.a, &bucket.Check{Account: "acme", Model: tt.model, Category: "llm", Requests: 1})
		if r.Reason != tt.reason {
			t.Errorf("%s: %s, want %s", tt.name, r.Reason, tt.reason)
		}
		if tt.limit > 0 && (len(r.Limits) != 1 || r.Limits[0].Limit.Limit != tt.limit) {
			t.Errorf("%s: limits %+v, want %d", tt.name, r.Limits, tt.limit)
		}
	}
	if r := table.Rule(account(func(a *ledger.Account) { a.Plan, a.Lifetime = ledger.Scale, 0 }), &bucket.Check{Model: pro}); r.Reason != bucket.OK {
		t.Errorf("scale and FLUX pro: %+v", r)
	}
}

func TestRuleAllocatesNothing(t *testing.T) {
	table, a := mustTable(t), spent(usd("5"))
	c := &bucket.Check{Account: "acme", Model: "meta-llama/Llama-3.3-70B-Instruct-Turbo", Category: "llm", Requests: 1}
	if n := testing.AllocsPerRun(100, func() { table.Rule(a, c) }); n != 0 {
		t.Errorf("%v allocations a check", n)
	}
}

func TestPoliciesThatAreRefused(t *testing.T) {
	good := string(ledger.DefaultPolicy())
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the default has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	tests := []struct{ name, doc, want string }{
		{"nothing", "", ""},
		{"no YAML", "{", ""},
		{"an unknown key", good + "\nlimitz: {}\n", "limitz"},
		{"another schema", change("schema: 1", "schema: 2"), "schema"},
		{"two documents", good + "\n---\nschema: 1\n", "document"},
		{"spends that do not rise", change(`spend: "50.00"`, `spend: "5.00"`), "spend"},
		{"spends that fall", change(`spend: "50.00"`, `spend: "4.00"`), "spend"},
		{"a spend that is none", change(`spend: "50.00"`, `spend: "fifty"`), "spend"},
		{"a duplicate level", change("level: 2", "level: 1"), "level"},
		{"a level above 100", change("level: 5", "level: 101"), "level"},
		{"an unknown unit", change("unit: requests", "unit: bananas"), "unit"},
		{"a window that is none", change("window: 1m", "window: 1500ms"), "window"},
		{"a window too long", change("window: 1m", "window: 32d"), "window"},
		{"a limit of 0", change("limit: 600", "limit: 0"), "limit"},
		{"a limit too large", change("limit: 600", "limit: 1000000001"), "limit"},
		{"a category that is not defined", change("llm: [{unit: requests, limit: 600", "video: [{unit: requests, limit: 600"), "video"},
		{"two limits of one unit and window", change("[{unit: requests, limit: 600, window: 1m}]", "[{unit: requests, limit: 600, window: 1m}, {unit: requests, limit: 1, window: 60s}]"), "second"},
		{"a model of an unknown category", change("category: image", "category: video"), "category"},
		{"a model of an unknown tier", change("category: image, min_tier: 1", "category: image, min_tier: 9"), "min_tier"},
		{"a category of an unknown tier", change("llm: {min_tier: 1}", "llm: {min_tier: 9}"), "min_tier"},
		{"a category's name that is none", change("categories:\n", "categories:\n  \"a b\": {min_tier: 1}\n"), "categories"},
		{"more than 1 MiB", good + "\n#" + strings.Repeat("x", ledger.MaxPolicy), "bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ledger.Compile(1, []byte(tt.doc))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
