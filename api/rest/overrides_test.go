package rest

import (
	"fmt"
	"strings"
	"testing"

	"quorate/fsm/ledger"
)

func TestOverridesAreAsTheyWereSent(t *testing.T) {
	s, _ := newServer(t)
	const list = `[{"match":"meta-llama/*","limits":[{"unit":"requests","limit":9,"burst":12,"window":"1m"}],"expires_at":"2100-01-31T12:00:00Z"},` +
		`{"category":"llm","limits":[],"min_tier":0}]`
	a := ask(s, "PATCH", "/v1/accounts/acme", `{"overrides":`+list+`}`)
	if a.status != 200 || !strings.Contains(a.body, `"overrides":`+list) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := ask(s, "PATCH", "/v1/accounts/acme", `{"overrides":[]}`); !strings.Contains(a.body, `"overrides":[]`) {
		t.Errorf("none: %d %s", a.status, a.body)
	}
	for body, path := range map[string]string{
		`[{"category":"llm"},{"category":"llm"}]`: "overrides[1]",
		`[{}]`:                                "overrides[0]",
		`[{"match":"a b"}]`:                   "overrides[0].match",
		`[{"category":"llm","min_tier":101}]`: "overrides[0].min_tier",
		`[{"category":"llm","min_tier":-1}]`:  "overrides[0].min_tier",
		`[{"category":"llm","limits":[{"unit":"tokens","limit":0,"window":"1m"}]}]`:           "overrides[0].limits[0].limit",
		`[{"category":"llm","limits":[{"unit":"tokens","limit":-7,"window":"1m"}]}]`:          "overrides[0].limits[0].limit",
		`[{"category":"llm","limits":[{"unit":"tokens","limit":1000000001,"window":"1m"}]}]`:  "overrides[0].limits[0].limit",
		`[{"category":"llm","limits":[{"unit":"tokens","limit":1,"burst":0,"window":"1m"}]}]`: "overrides[0].limits[0].burst",
		`[{"category":"llm","limits":[{"unit":"coffee","limit":1,"window":"1m"}]}]`:           "overrides[0].limits[0].unit",
		`[{"category":"llm","limits":[{"unit":"tokens","limit":1,"window":"1m1s"}]}]`:         "overrides[0].limits[0].window",
		`[{"category":"llm","limits":[{"limit":1,"window":"1m"},{"limit":1,"window":""}]}]`:   "overrides[0].limits[1].window",
	} {
		a := ask(s, "PATCH", "/v1/accounts/acme", `{"overrides":`+body+`}`)
		if code, _ := a.code(t); a.status != 422 || code != "invalid_overrides" || !strings.Contains(a.body, `"path":"`+path+`"`) {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	for _, past := range []string{"1970-01-01T00:00:00.001Z", "1960-02-29T00:00:00+01:00"} {
		a = ask(s, "PATCH", "/v1/accounts/acme", `{"overrides":[{"match":"m","expires_at":"2100-01-31T12:00:00Z"},{"category":"llm","min_tier":0,"expires_at":"`+past+`"}]}`)
		if code, _ := a.code(t); a.status != 422 || code != "invalid_overrides" || !strings.Contains(a.body, `"path":"overrides[1].expires_at"`) {
			t.Errorf("past expiry: %d %s", a.status, a.body)
		}
	}
}

func TestDeleteWantsAnEmptyAccount(t *testing.T) {
	s, n := newServer(t)
	a := ask(s, "DELETE", "/v1/accounts/acme", "")
	if code, _ := a.code(t); a.status != 404 || code != "unknown_account" {
		t.Errorf("unknown: %d %s", a.status, a.body)
	}
	ask(s, "POST", "/v1/accounts/acme/ledger", `{"key":"k","type":"free_credit","amount":"1"}`)
	a = ask(s, "DELETE", "/v1/accounts/acme", "")
	if code, _ := a.code(t); a.status != 409 || code != "not_empty" {
		t.Errorf("with credits: %d %s", a.status, a.body)
	}
	ask(s, "POST", "/v1/accounts/acme/ledger", `{"key":"l","type":"usage","amount":"1"}`)
	if a = ask(s, "DELETE", "/v1/accounts/acme", ""); a.status != 204 || a.body != "" || n.Account("acme") != nil {
		t.Errorf("empty: %d %s", a.status, a.body)
	}
}

func TestEntriesAreFoundByTheirKey(t *testing.T) {
	s, _ := newServer(t)
	ask(s, "POST", "/v1/accounts/acme/ledger", `{"key":"a/b c","type":"purchase","amount":"5"}`)
	if a := ask(s, "GET", "/v1/accounts/acme/ledger/a%2Fb%20c", ""); a.status != 200 || a.body != `{"key":"a/b c","type":"purchase","amount":"5.00","index":8}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	a := ask(s, "GET", "/v1/accounts/acme/ledger/other", "")
	if code, _ := a.code(t); a.status != 404 || code != "unknown_key" {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = ask(s, "POST", "/v1/accounts/acme/ledger", `{"key":"old","type":"purchase","amount":"5","issued_at":"yesterday"}`)
	if _, field := a.code(t); a.status != 400 || field != "issued_at" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestAccountsAreListedInPages(t *testing.T) {
	s, n := newServer(t)
	var ops []ledger.Op
	for i := range 250 {
		amount := ledger.Money(1+i%2*9) * ledger.Dollar // every other account is at tier 1
		ops = append(ops, ledger.Op{Kind: ledger.OpEntry, Account: fmt.Sprintf("a%03d", i), Key: "k", Type: ledger.Purchase, Amount: amount})
	}
	n.state.Apply(8, &ledger.Command{Time: 1, Ops: ops})
	pages := func(query string) (ids []string, pages int) {
		cursor := ""
		for {
			a := ask(s, "GET", "/v1/accounts?"+query+cursor, "")
			parts := strings.Split(a.body, `{"id":"`)
			for _, p := range parts[1:] {
				ids = append(ids, p[:4])
			}
			pages++
			if strings.HasSuffix(a.body, `"next_cursor":null}`) || pages > 300 {
				return ids, pages
			}
			cursor = "&cursor=" + ids[len(ids)-1]
		}
	}
	for query, want := range map[string]string{"": "250 3", "limit=250": "250 1", "limit=1000": "250 1", "limit=7": "250 36", "tier=1": "125 2", "tier=5": "0 1"} {
		ids, n := pages(query)
		if got := fmt.Sprint(len(ids), " ", n); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
		for i := 1; i < len(ids); i++ {
			if ids[i-1] >= ids[i] {
				t.Fatalf("%q: %s before %s", query, ids[i-1], ids[i])
			}
		}
	}
	for query, field := range map[string]string{"limit=0": "limit", "limit=1001": "limit", "limit=x": "limit", "tier=-1": "tier", "tier=101": "tier", "cursor=a%20b": "cursor"} {
		a := ask(s, "GET", "/v1/accounts?"+query, "")
		if _, got := a.code(t); a.status != 400 || got != field {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

func TestExplain(t *testing.T) {
	s, n := newServer(t)
	n.decision = decision(0)
	a := ask(s, "GET", "/v1/explain?account=acme&category=llm", "")
	if a.status != 200 || !n.asked.DryRun || n.asked.Requests != 1 {
		t.Fatalf("%d %s, asked %+v", a.status, a.body, n.asked)
	}
	for _, want := range []string{`{"decision":{"allowed":true`, `"rules":[{"rule":"category","outcome":"passed"`, `"limits":[{"name":"llm-requests-1m"`, `"next_tier":{"tier":1,"spend_needed":"5.00"}`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("%s lacks %s", a.body, want)
		}
	}
	a = ask(s, "GET", "/v1/explain?account=acme", "")
	if _, field := a.code(t); a.status != 400 || field != "model" {
		t.Errorf("%d %s", a.status, a.body)
	}
}
