package e2e

import (
	"fmt"
	"math"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// patch changes an account and returns the index from which on it counts.
func patch(t *testing.T, node *testcluster.Node, account, body string) uint64 {
	t.Helper()
	r := node.MustDo(t, "PATCH", "/v1/accounts/"+account, body)
	if r.Status != 200 {
		t.Fatalf("patch %s with %s: %s", account, body, r)
	}
	return r.Index()
}

// testDenials: every line of the decisions' table, and that a denial takes
// nothing from any bucket.
func testDenials(t *testing.T, c *testcluster.Cluster) {
	const pro = "black-forest-labs/FLUX.1.1-pro"
	for _, tt := range []struct {
		name   string
		spend  string // 0: never seen
		used   int64  // of llm, before
		deny   string // a patch that makes the denial
		usage  string // charged before it
		undo   string // a patch that ends it
		check  testcluster.Check
		status int
		reason string
		need   int    // required tier
		missed string // spend needed
	}{
		{name: "allowed", spend: "5", used: 100, check: costing("", "llm", 0), status: 200, reason: "ok"},
		{name: "suspended", spend: "5", used: 100, deny: `{"suspended":true}`, undo: `{"suspended":false}`, check: costing("", "llm", 50), status: 403, reason: "suspended"},
		{name: "suspended before the gate", spend: "5", used: 100, deny: `{"suspended":true}`, undo: `{"suspended":false}`, check: testcluster.Check{Model: pro}, status: 403, reason: "suspended"},
		{name: "free tier", check: costing("", "llm", 50), status: 403, reason: "free_tier", need: 1, missed: "5.00"},
		{name: "free tier, a model of tier 2", spend: "4.99", check: testcluster.Check{Model: pro}, status: 403, reason: "free_tier", need: 2, missed: "45.01"},
		{name: "tier access", spend: "5", used: 100, check: testcluster.Check{Model: pro, Requests: ptr(int64(50))}, status: 403, reason: "tier_access", need: 2, missed: "45.00"},
		{name: "tier access before the usage limit", spend: "5", used: 100, usage: "5", deny: `{"usage_limit":"0.00"}`, undo: `{"usage_limit":null}`, check: testcluster.Check{Model: pro}, status: 403, reason: "tier_access", need: 2, missed: "45.00"},
		{name: "usage limit, prepaid only", spend: "5", used: 100, usage: "5", deny: `{"usage_limit":"0.00"}`, undo: `{"usage_limit":null}`, check: costing("", "llm", 50), status: 402, reason: "usage_limit"},
		{name: "usage limit, raised", spend: "5", used: 100, usage: "7", deny: `{"usage_limit":"2.00"}`, undo: `{"usage_limit":"2.01"}`, check: costing("", "llm", 50), status: 402, reason: "usage_limit"},
		{name: "rate limited", spend: "5", used: 100, check: costing("", "llm", 560), status: 429, reason: "rate_limited"},
		{name: "never fits", spend: "5", used: 100, check: costing("", "llm", 601), status: 429, reason: "rate_limited"},
		{
			name: "one of two limits", spend: "5", used: 100,
			deny: `{"overrides":[{"category":"llm","limits":[{"unit":"requests","limit":600,"window":"1m"},{"unit":"tokens","limit":10,"window":"1h"}]}]}`,
			undo: `{"overrides":[]}`, check: testcluster.Check{Category: "llm", Requests: ptr(int64(50)), Tokens: ptr(int64(11))}, status: 429, reason: "rate_limited",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			account := newAccount(t)
			if tt.spend != "" {
				account = buy(t, c, tt.spend)
			}
			start := time.Now()
			if tt.used > 0 {
				if d := c.Nodes[0].Check(t, costing(account, "llm", tt.used)); !d.Allowed {
					t.Fatal(d.Reply)
				}
			}
			before := remaining(t, c.Nodes[1], account, 0)
			var index uint64
			if tt.usage != "" {
				e, err := c.Nodes[1].Enter(t.Context(), account, testcluster.Entry{Key: "usage", Type: "usage", Amount: tt.usage})
				if err != nil {
					t.Fatal(err)
				}
				index = e.Reply.Index()
			}
			if tt.deny != "" {
				index = patch(t, c.Nodes[2], account, tt.deny)
			}
			tt.check.Account = account
			for i := range 6 { // each node twice; would a denial take 50, 300 were gone
				node := c.Nodes[i%len(c.Nodes)]
				d := node.Check(t, tt.check, testcluster.MinIndex(index))
				if d.Reply.Status != tt.status || d.Reason != tt.reason || d.Allowed != (tt.status == 200) || d.RequiredTier != tt.need || d.SpendNeeded != tt.missed {
					t.Errorf("at %s: %s; want %d %s, tier %d for %q", node.ID, d.Reply, tt.status, tt.reason, tt.need, tt.missed)
				}
				denied := tt.status == 402 || tt.status == 403
				if got := d.Reply.Header.Get("X-Should-Retry"); denied != (got == "false") && !d.NeverFits {
					t.Errorf("at %s: x-should-retry %q of a %d", node.ID, got, tt.status)
				}
			}
			if tt.undo != "" {
				index = patch(t, c.Nodes[0], account, tt.undo)
			}
			after := remaining(t, c.Nodes[2], account, index)
			back := int64(math.Ceil(600 * time.Since(start).Minutes()))
			if after < before || after > min(600, before+back) {
				t.Errorf("%d were left before and %d after; at most %d came back", before, after, back)
			}
		})
	}
}

// remaining returns what is left of llm, 0 where a dry run is denied.
func remaining(t *testing.T, node *testcluster.Node, account string, index uint64) int64 {
	t.Helper()
	probe := costing(account, "llm", 0)
	probe.DryRun = true
	d := node.Check(t, probe, testcluster.MinIndex(index))
	if !d.Allowed {
		return 0
	}
	if len(d.Limits) != 1 {
		t.Fatalf("limits of llm: %s", d.Reply)
	}
	return d.Limits[0].Remaining
}

// testBlocked: what ends a block by the usage limit, and what does not begin one.
func testBlocked(t *testing.T, c *testcluster.Cluster) {
	account := buy(t, c, "5")
	at := 0
	want := func(what string, index uint64, status int) {
		t.Helper()
		at++
		node := c.Nodes[at%len(c.Nodes)]
		if d := node.Check(t, costing(account, "llm", 1), testcluster.MinIndex(index)); d.Reply.Status != status {
			t.Errorf("%s at %s: %s, want %d", what, node.ID, d.Reply, status)
		}
	}
	enter := func(typ, amount string) uint64 {
		t.Helper()
		at++
		e, err := c.Nodes[at%len(c.Nodes)].Enter(t.Context(), account, testcluster.Entry{Key: fmt.Sprint(at), Type: typ, Amount: amount})
		if err != nil {
			t.Fatal(err)
		}
		return e.Reply.Index()
	}
	want("a limit and credits", patch(t, c.Nodes[0], account, `{"usage_limit":"1.00"}`), 200)
	want("the credits are used up, the bill is below", enter("usage", "5.99"), 200)
	want("the bill reaches the limit", enter("usage", "0.01"), 402)
	want("usage while blocked is recorded", enter("usage", "2"), 402)
	want("the limit is raised", patch(t, c.Nodes[1], account, `{"usage_limit":"3.000001"}`), 200)
	want("and reached", enter("usage", "0.000001"), 402)
	want("the bill is paid in part", enter("payment", "0.000001"), 200)
	want("used again", enter("usage", "1"), 402)
	want("free credits", enter("free_credit", "0.5"), 200)
	want("used up", enter("usage", "0.5"), 402)
	want("a credit pack", enter("purchase", "1"), 200)
	want("used up", enter("usage", "1"), 402)
	want("no limit", patch(t, c.Nodes[2], account, `{"usage_limit":null}`), 200)
	if a := c.Nodes[0].Account(t, account); a.OpenBill != "4.00" || a.LifetimeSpend != "6.000001" {
		t.Errorf("the account: %+v", a)
	}
}
