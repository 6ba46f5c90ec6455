package e2e

import (
	"net/http"
	"strings"
	"testing"

	"quorate/testing/testcluster"
)

// testReplay: a key is good once, whichever node is asked.
func testReplay(t *testing.T, c *testcluster.Cluster) {
	account := newAccount(t)
	first := c.Nodes[0].Purchase(t, account, "invoice 7", "5")
	if first.Replayed || first.Entry.Index == 0 || first.Entry.Amount != "5.00" || first.Reply.Index() < first.Entry.Index {
		t.Fatalf("the first time: %s", first.Reply)
	}
	c.Nodes[1].Purchase(t, account, "another", "1")
	for _, node := range c.Nodes {
		again := node.Purchase(t, account, "invoice 7", "5.00")
		if !again.Replayed || again.Entry != first.Entry || again.Account.LifetimeSpend != "6.00" {
			t.Errorf("again at %s: %s; want the first entry and the current account", node.ID, again.Reply)
		}
		if again.Reply.Index() < first.Entry.Index {
			t.Errorf("a replay names index %d, the entry is at %d", again.Reply.Index(), first.Entry.Index)
		}
		for name, e := range map[string]testcluster.Entry{
			"another amount": {Key: "invoice 7", Type: "purchase", Amount: "5.01"},
			"another type":   {Key: "invoice 7", Type: "free_credit", Amount: "5"},
		} {
			wantProblem(t, name, node.MustDo(t, "POST", "/v1/accounts/"+account+"/ledger", e), 409, "key_reused", "")
		}
	}
	if d := c.Nodes[2].Purchase(t, newAccount(t), "invoice 7", "5"); d.Replayed {
		t.Errorf("another account's key of the same name: %s", d.Reply)
	}
}

// testBulk: each entry on its own, in order.
func testBulk(t *testing.T, c *testcluster.Cluster) {
	a, b := newAccount(t), newAccount(t)
	var out struct {
		Results []struct {
			Status   int
			Code     string
			Field    string
			Replayed bool
			Entry    testcluster.Entry
			Account  testcluster.Account
		}
	}
	body := `{"entries":[
		{"account":"` + a + `","key":"1","type":"purchase","amount":"5"},
		{"account":"` + a + `","key":"1","type":"purchase","amount":"5.00"},
		{"account":"` + a + `","key":"1","type":"purchase","amount":"6"},
		{"account":"` + a + `","key":"2","type":"purchase","amount":5},
		{"account":"` + b + `","key":"1","type":"free_credit","amount":"7"},
		{"account":"` + a + `","key":"3","type":"purchase","amount":"45"}]}`
	r := c.Nodes[1].MustDo(t, "POST", "/v1/ledger", body)
	if r.Status != 200 {
		t.Fatal(r)
	}
	if err := r.JSON(&out); err != nil {
		t.Fatal(err)
	}
	want := []struct {
		status   int
		code     string
		replayed bool
		spend    string
	}{
		{200, "", false, "5.00"},
		{200, "", true, "5.00"},
		{409, "key_reused", false, ""},
		{400, "invalid_request", false, ""},
		{200, "", false, "0.00"},
		{200, "", false, "50.00"},
	}
	if len(out.Results) != len(want) {
		t.Fatalf("%d results of %d entries: %s", len(out.Results), len(want), r)
	}
	for i, w := range want {
		got := out.Results[i]
		if got.Status != w.status || got.Code != w.code || got.Replayed != w.replayed || got.Account.LifetimeSpend != w.spend {
			t.Errorf("entry %d: %+v, want %+v", i, got, w)
		}
	}
	if out.Results[3].Field != "amount" {
		t.Errorf("the amount that is a number: field %q", out.Results[3].Field)
	}
	for _, node := range c.Nodes {
		if got := node.Account(t, a, testcluster.MinIndex(r.Index())); got.Tier != 2 {
			t.Errorf("%s at %s: %+v", a, node.ID, got)
		}
	}

	// As many as one request may carry.
	many := strings.Repeat(`{"account":"`+b+`","key":"same","type":"free_credit","amount":"1"},`, 1000)
	full := `{"entries":[` + many[:len(many)-1] + `]}`
	if r = c.Nodes[2].MustDo(t, "POST", "/v1/ledger", full); r.Status != 200 {
		t.Fatalf("1000 entries: %s", r)
	}
	if err := r.JSON(&out); err != nil || len(out.Results) != 1000 || out.Results[0].Replayed || !out.Results[999].Replayed {
		t.Errorf("1000 entries: %d results, %v", len(out.Results), err)
	}
	if got := c.Nodes[0].Account(t, b, testcluster.MinIndex(r.Index())); got.Credits.Free != "8.00" {
		t.Errorf("free credits %s, want 8.00", got.Credits.Free)
	}
	over := `{"entries":[` + many + many[:len(many)-1] + `]}`
	wantProblem(t, "2000 entries", c.Nodes[2].MustDo(t, "POST", "/v1/ledger", over), 400, "invalid_request", "entries")
}

// testPlan: a plan passes every gate, at the highest tier's limits.
func testPlan(t *testing.T, c *testcluster.Cluster) {
	account := newAccount(t)
	wantProblem(t, "an account never seen", c.Nodes[0].MustDo(t, "GET", "/v1/accounts/"+account, nil), 404, "unknown_account", "")
	r := c.Nodes[0].MustDo(t, "PATCH", "/v1/accounts/"+account, `{"plan":"scale"}`)
	var a testcluster.Account
	if err := r.JSON(&a); err != nil || r.Status != 200 || a.Plan != "scale" || a.Tier != 0 {
		t.Fatalf("%s, %v", r, err)
	}
	for _, node := range c.Nodes {
		d := node.Check(t, testcluster.Check{Account: account, Category: "llm"}, testcluster.MinIndex(r.Index()))
		if !d.Allowed || d.Limits[0].Limit != 6000 {
			t.Errorf("llm at %s: %s", node.ID, d.Reply)
		}
		d = node.Check(t, testcluster.Check{Account: account, Model: "black-forest-labs/FLUX.1-pro"}, testcluster.MinIndex(r.Index()))
		if !d.Allowed {
			t.Errorf("FLUX pro at %s: %s", node.ID, d.Reply)
		}
	}
	r = c.Nodes[1].MustDo(t, "PATCH", "/v1/accounts/"+account, `{"plan":"build"}`)
	if r.Status != http.StatusOK {
		t.Fatal(r)
	}
	d := c.Nodes[2].Check(t, testcluster.Check{Account: account, Category: "llm"}, testcluster.MinIndex(r.Index()))
	if d.Reason != "free_tier" {
		t.Errorf("back on the build plan: %s", d.Reply)
	}
}
