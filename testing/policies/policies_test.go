package policies

import (
	"os"
	"testing"
	"time"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// TestDocuments: both compile, and rows of their tables decide as they say.
func TestDocuments(t *testing.T) {
	type row struct {
		spend            ledger.Money
		model, category  string
		tier             int
		reason           bucket.Reason
		requests, tokens int64         // limits; 0 where there is none
		window           time.Duration // of the requests
		scope            string
		required         int
	}
	const d = ledger.Dollar
	for file, rows := range map[string][]row{
		"openai.yaml": {
			{5*d - 1, "gpt-4o", "", 0, bucket.FreeTier, 0, 0, 0, "", 1},
			{5 * d, "gpt-4o", "", 1, bucket.OK, 500, 30_000, time.Minute, "gpt-4o*", 0},
			{5 * d, "gpt-4o-2024-11-20", "", 1, bucket.OK, 500, 30_000, time.Minute, "gpt-4o*", 0},
			{5 * d, "GPT-4o-mini", "", 1, bucket.OK, 500, 200_000, time.Minute, "gpt-4o-mini*", 0},
			{50*d - 1, "gpt-4o", "", 1, bucket.OK, 500, 30_000, time.Minute, "gpt-4o*", 0},
			{50 * d, "gpt-4o", "", 2, bucket.OK, 5000, 450_000, time.Minute, "gpt-4o*", 0},
			{100 * d, "o1", "", 3, bucket.OK, 5000, 800_000, time.Minute, "o1*", 0},
			{250 * d, "o1-mini", "", 4, bucket.OK, 10_000, 10_000_000, time.Minute, "o1-mini*", 0},
			{1000 * d, "gpt-4o-mini", "", 5, bucket.OK, 30_000, 150_000_000, time.Minute, "gpt-4o-mini*", 0},
			{1000 * d, "gpt-9", "", 5, bucket.OK, 10_000, 30_000_000, time.Minute, "llm", 0},
			{1000 * d, "grok-4.3", "", 5, bucket.UnknownModel, 0, 0, 0, "", 0},
		},
		"xai.yaml": {
			{0, "grok-4.3", "", 0, bucket.OK, 30, 10_000_000, time.Second, "grok-4.3*", 0},
			{50*d - 1, "grok-4.3", "", 0, bucket.OK, 30, 10_000_000, time.Second, "grok-4.3*", 0},
			{50 * d, "grok-4.3", "", 1, bucket.OK, 40, 15_000_000, time.Second, "grok-4.3*", 0},
			{250 * d, "grok-4.20-0309-reasoning", "", 2, bucket.OK, 60, 25_000_000, time.Second, "grok-4.20-*", 0},
			{1000 * d, "grok-build-0.1", "", 3, bucket.OK, 100, 45_000_000, time.Second, "grok-build-*", 0},
			{5000 * d, "grok-5", "", 4, bucket.OK, 166, 85_000_000, time.Second, "llm", 0},
			{5000 * d, "", "llm", 4, bucket.OK, 166, 85_000_000, time.Second, "llm", 0},
		},
	} {
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		table, err := ledger.Compile(1, doc)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, r := range rows {
			t.Run(file+" "+r.spend.String()+" "+r.model+r.category, func(t *testing.T) {
				a := ledger.NewAccount("acme")
				a.Lifetime = r.spend
				got := table.Rule(&a, &bucket.Check{Account: "acme", Model: r.model, Category: r.category, Requests: 1, Tokens: 1})
				if got.Reason != r.reason || got.Tier != r.tier && r.reason != bucket.UnknownModel || got.RequiredTier != r.required {
					t.Fatalf("%s at tier %d, required %d; want %s, %d, %d", got.Reason, got.Tier, got.RequiredTier, r.reason, r.tier, r.required)
				}
				if r.reason != bucket.OK {
					return
				}
				if len(got.Limits) != 2 {
					t.Fatalf("%d limits, want of requests and of tokens", len(got.Limits))
				}
				for i, want := range []bucket.Limit{
					{Unit: bucket.Requests, Limit: r.requests, Burst: r.requests, Window: r.window},
					{Unit: bucket.Tokens, Limit: r.tokens, Burst: r.tokens, Window: time.Minute},
				} {
					if got.Limits[i].Limit != want || got.Limits[i].Scope != r.scope {
						t.Errorf("limit %s is %+v, want %+v of scope %s", got.Limits[i].Name, got.Limits[i], want, r.scope)
					}
				}
			})
		}
	}
}
