package rest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

func entry(s *Server, key, typ, amount string) answer {
	return ask(s, "POST", "/v1/accounts/acme/ledger", fmt.Sprintf(`{"key":%q,"type":%q,"amount":%q}`, key, typ, amount))
}

func TestEntryIsAppliedOnce(t *testing.T) {
	s, n := newServer(t)
	a := entry(s, "k1", "purchase", "50")
	if a.status != 200 || a.get("X-Quorate-Index") != "8" || !json.Valid([]byte(a.body)) ||
		!strings.HasPrefix(a.body, `{"replayed":false,"entry":{"key":"k1","type":"purchase","amount":"50.00","index":8},"account":{"id":"acme","plan":"build","tier":2,`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = entry(s, "k1", "purchase", "50.0")
	if a.status != 200 || a.get("X-Quorate-Index") != "9" ||
		!strings.HasPrefix(a.body, `{"replayed":true,"entry":{"key":"k1","type":"purchase","amount":"50.00","index":8},"account":`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if got := n.Account("acme").Purchased; got.String() != "50.00" {
		t.Errorf("%s purchased", got)
	}
	if want := []string{"purchase applied", "purchase replayed"}; !slices.Equal(n.counted, want) {
		t.Errorf("counted %q", n.counted)
	}
}

func TestEntryTypes(t *testing.T) {
	s, n := newServer(t)
	for i, c := range []struct{ typ, amount, want string }{
		{"purchase", "10", "0.00 10.00 0.00 10.00"},
		{"free_credit", "5", "5.00 10.00 0.00 10.00"},
		{"refund", "2", "5.00 8.00 0.00 8.00"},
		{"usage", "14", "0.00 0.00 1.00 8.00"},
		{"payment", "3", "0.00 2.00 0.00 11.00"},
	} {
		if a := entry(s, fmt.Sprint("k", i), c.typ, c.amount); a.status != 200 {
			t.Errorf("%s: %d %s", c.typ, a.status, a.body)
		}
		acc := n.Account("acme")
		if got := fmt.Sprint(acc.Free, acc.Purchased, acc.OpenBill, acc.Lifetime); got != c.want {
			t.Errorf("%s: %s, want %s", c.typ, got, c.want)
		}
	}
}

func TestEntryRefused(t *testing.T) {
	s, n := newServer(t)
	entry(s, "k", "purchase", "1")
	for _, c := range []struct {
		key, typ, amount, code string
		status                 int
	}{
		{"k", "purchase", "2", "key_reused", 409},
		{"k", "payment", "1", "key_reused", 409},
		{"r", "refund", "2", "insufficient_credits", 422},
		{"r", "bonus", "2", "invalid_request", 400},
		{"r", "usage", "0", "invalid_request", 400},
		{"", "usage", "1", "invalid_request", 400},
	} {
		a := entry(s, c.key, c.typ, c.amount)
		if code, _ := a.code(t); a.status != c.status || code != c.code {
			t.Errorf("%+v: %d %s", c, a.status, a.body)
		}
	}
	if want := []string{"purchase applied", "purchase refused", "payment refused", "refund refused"}; !slices.Equal(n.counted, want) {
		t.Errorf("counted %q", n.counted)
	}
	if a := entry(s, "r", "refund", "1"); a.status != 200 {
		t.Errorf("a refused entry used up its key: %s", a.body)
	}
}

func TestEntryIssuedInFuture(t *testing.T) {
	s, n := newServer(t)
	if _, _, err := n.Propose(t.Context(), []ledger.Op{{Kind: ledger.OpVersion, Version: 4}}); err != nil {
		t.Fatal(err)
	}
	body := `{"key":"k","type":"purchase","amount":"5","issued_at":"2099-01-01T00:00:00Z"}`
	a := ask(s, "POST", "/v1/accounts/acme/ledger", body)
	if code, _ := a.code(t); a.status != 422 || code != "issued_in_future" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a = entry(s, "k", "purchase", "5"); a.status != 200 {
		t.Errorf("it used up its key: %s", a.body)
	}
}

func TestBulkItemsStandAlone(t *testing.T) {
	s, n := newServer(t)
	a := ask(s, "POST", "/v1/ledger", `{"entries":[
		{"account":"a","key":"1","type":"purchase","amount":"5"},
		{"account":"a","key":"2","type":"purchase","amount":5},
		{"account":"a","key":"3","type":"refund","amount":"6"},
		[],
		{"account":"b","key":"1","type":"usage","amount":"0.01"},
		{"account":"a","key":"1","type":"purchase","amount":"5.00"},
		{"account":"a","key":"4","type":"refund","amount":"5"}]}`)
	var got struct {
		Results []struct {
			Status      int
			Code, Field string
			Replayed    bool
			Entry       wire.Entry
			Account     wire.AccountResponse
		}
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 || a.get("X-Quorate-Index") != "8" {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	var lines []string
	for _, r := range got.Results {
		lines = append(lines, strings.TrimSpace(fmt.Sprint(r.Status, r.Code, r.Field, r.Account.ID, r.Entry.Amount, r.Replayed)))
	}
	want := []string{
		"200a5.00 false", "400invalid_requestamount false", "422insufficient_credits false", "400invalid_request false",
		"200b0.01 false", "200a5.00 true", "200a5.00 false",
	}
	if len(lines) != len(want) {
		t.Fatalf("%q", lines)
	}
	for i := range want {
		if squeeze(lines[i]) != squeeze(want[i]) {
			t.Errorf("item %d: %q, want %q", i, lines[i], want[i])
		}
	}
	if n.Account("a").Purchased != 0 || n.Account("b").OpenBill != 10_000_000 {
		t.Error("the balances are wrong")
	}
}

func squeeze(s string) string { return strings.ReplaceAll(s, " ", "") }

func TestBulkOfNothingButFaults(t *testing.T) {
	s, n := newServer(t)
	a := ask(s, "POST", "/v1/ledger", `{"entries":[{},7]}`)
	if a.status != 200 || strings.Count(a.body, `"status":400`) != 2 || n.Index() != 7 || a.get("X-Quorate-Index") != "7" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestBulkBounds(t *testing.T) {
	s, _ := newServer(t)
	item := `{"account":"a","key":"k","type":"usage","amount":"1"},`
	for body, status := range map[string]int{
		`{"entries":[]}`: 400, `{}`: 400, `[]`: 400,
		`{"entries":[` + strings.TrimSuffix(strings.Repeat(item, 1000), ",") + `]}`: 200,
		`{"entries":[` + strings.TrimSuffix(strings.Repeat(item, 1001), ",") + `]}`: 400,
	} {
		if a := ask(s, "POST", "/v1/ledger", body); a.status != status {
			t.Errorf("%.40s: %d %.200s", body, a.status, a.body)
		}
	}
}
