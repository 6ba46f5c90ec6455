package e2e

import (
	"fmt"
	"testing"

	"quorate/testing/testcluster"
)

// testModels: who may ask for which FLUX model.
func testModels(t *testing.T, c *testcluster.Cluster) {
	free := newAccount(t)
	c.WaitApplied(t, c.Nodes[0].FreeCredit(t, free, "gift", "1000").Reply.Index())
	accounts := []struct {
		id     string
		tier   int
		missed [3]string // spend needed to tier 1 and 2
	}{
		{newAccount(t), 0, [3]string{1: "5.00", 2: "50.00"}}, // never seen
		{free, 0, [3]string{1: "5.00", 2: "50.00"}},
		{buy(t, c, "4.99"), 0, [3]string{1: "0.01", 2: "45.01"}},
		{buy(t, c, "5.00"), 1, [3]string{2: "45.00"}},
		{buy(t, c, "49.999999"), 1, [3]string{2: "0.000001"}},
		{buy(t, c, "50.00"), 2, [3]string{}},
		{buy(t, c, "1000.00"), 5, [3]string{}},
	}
	models := []struct {
		name string
		need int
	}{
		{"black-forest-labs/FLUX.1-schnell", 1},
		{"black-forest-labs/FLUX.1-schnell-Free", 1},
		{"black-forest-labs/FLUX.1-dev", 1},
		{"black-forest-labs/FLUX.1-canny", 1},
		{"black-forest-labs/FLUX.1-depth", 1},
		{"black-forest-labs/FLUX.1-redux", 1},
		{"black-forest-labs/FLUX.1-kontext-dev", 1},
		{"Black-Forest-Labs/flux.1-SCHNELL", 1},
		{"black-forest-labs/FLUX.1-pro", 2},
		{"black-forest-labs/FLUX.1.1-pro", 2},
		{"black-forest-labs/FLUX.1-kontext-pro", 2},
		{"black-forest-labs/FLUX.9-of-the-future", 2},
	}
	for i, a := range accounts {
		for j, m := range models {
			node := c.Nodes[(i+j)%len(c.Nodes)]
			d := node.Check(t, testcluster.Check{Account: a.id, Model: m.name})
			want := testcluster.Decision{Allowed: true, Reason: "ok"}
			status := 200
			if a.tier < m.need {
				want = testcluster.Decision{Reason: "tier_access", RequiredTier: m.need, SpendNeeded: a.missed[m.need]}
				if a.tier == 0 {
					want.Reason = "free_tier"
				}
				status = 403
			}
			if d.Reply.Status != status || d.Allowed != want.Allowed || d.Reason != want.Reason || d.Tier != a.tier || d.Category != "image" ||
				d.RequiredTier != want.RequiredTier || d.SpendNeeded != want.SpendNeeded || len(d.Limits) != 0 {
				t.Errorf("tier %d, %s: %s; want %d %+v", a.tier, m.name, d.Reply, status, want)
			}
			if got := d.Reply.Header.Get("X-Should-Retry"); (got == "false") != (status == 403) {
				t.Errorf("tier %d, %s: x-should-retry %q", a.tier, m.name, got)
			}
		}
	}
	// A caller cannot talk itself out of a gate by naming another category.
	if d := c.Nodes[0].Check(t, testcluster.Check{Account: accounts[3].id, Model: "black-forest-labs/FLUX.1-pro", Category: "llm"}); d.Reason != "tier_access" {
		t.Errorf("FLUX pro as an llm: %s", d.Reply)
	}
}

// testSpend: the cents around each threshold.
func testSpend(t *testing.T, c *testcluster.Cluster) {
	for _, tt := range []struct {
		spend string
		tier  int
	}{
		{"0.01", 0}, {"4.99", 0}, {"4.999999", 0}, {"5.00", 1}, {"5", 1}, {"49.99", 1}, {"50", 2}, {"99.99", 2},
		{"100", 3}, {"249.99", 3}, {"250", 4}, {"999.99", 4}, {"1000", 5}, {"1000000000", 5},
	} {
		account := buy(t, c, tt.spend)
		for _, node := range c.Nodes {
			if a := node.Account(t, account); a.Tier != tt.tier {
				t.Errorf("$%s is tier %d at %s, want %d", tt.spend, a.Tier, node.ID, tt.tier)
			}
			d := node.Check(t, testcluster.Check{Account: account, Category: "llm"})
			if d.Tier != tt.tier || d.Allowed != (tt.tier > 0) {
				t.Errorf("$%s at %s: %s, want tier %d", tt.spend, node.ID, d.Reply, tt.tier)
			}
		}
	}
	// What is paid in parts counts in sum.
	account := buy(t, c, "4.99")
	a := c.Nodes[1].Purchase(t, account, "a cent", "0.01").Account
	if a.Tier != 1 || a.LifetimeSpend != "5.00" || a.Credits.Purchased != "5.00" || a.NextTier == nil || a.NextTier.SpendNeeded != "45.00" {
		t.Errorf("$4.99 and a cent: %+v", a)
	}
}

// testFreeCredits: no amount of free credits is a tier.
func testFreeCredits(t *testing.T, c *testcluster.Cluster) {
	account := newAccount(t)
	var index uint64
	for i := range 3 {
		index = c.Nodes[i].FreeCredit(t, account, fmt.Sprint("gift ", i), "1000000").Reply.Index()
	}
	for _, node := range c.Nodes {
		d := node.Check(t, testcluster.Check{Account: account, Category: "llm"}, testcluster.MinIndex(index))
		if d.Reply.Status != 403 || d.Reason != "free_tier" || d.Tier != 0 || d.SpendNeeded != "5.00" || d.RequiredTier != 1 {
			t.Errorf("$3000000 of free credits at %s: %s", node.ID, d.Reply)
		}
	}
	if a := c.Nodes[0].Account(t, account, testcluster.MinIndex(index)); a.Tier != 0 || a.LifetimeSpend != "0.00" || a.Credits.Free != "3000000.00" {
		t.Errorf("the account: %+v", a)
	}
}
