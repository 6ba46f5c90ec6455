package ledger_test

import (
	"strings"
	"testing"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// The last step of an explanation is what the ruling says.
func TestExplainAgreesWithRule(t *testing.T) {
	table, err := ledger.Compile(1, ledger.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	paid := func(dollars int64, change func(*ledger.Account)) *ledger.Account {
		a := ledger.NewAccount("acme")
		a.Lifetime = ledger.Micros(dollars) * ledger.Dollar
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
		{"never seen", nil, llm, ledger.Step{Rule: "min_tier", Outcome: "denied", Detail: "$5.00 more"}},
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
