package rest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"quorate/limiter/bucket"
)

func TestBatchDecidesEachOnItsOwn(t *testing.T) {
	s, n := newServer(t)
	n.decision = decision(bucket.OK)
	a := ask(s, "POST", "/v1/check/batch", `{"checks":[{"account":"a","model":"m"},{"account":"","model":"m"},7,{"account":"b","category":"llm","requests":0}]}`)
	var got struct {
		Decisions []struct {
			Status      int
			Account     string
			Code, Field string
			DecidedBy   string `json:"decided_by"`
		}
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 || a.get("X-Quorate-Index") != "42" {
		t.Fatalf("%d %v %s", a.status, err, a.body)
	}
	want := `[{200 a   n2} {400  invalid_request account } {400  invalid_request  } {200 b   n2}]`
	if fmt.Sprint(got.Decisions) != want {
		t.Errorf("%v, want %s", got.Decisions, want)
	}
}

// The checks of one account are decided in order, whatever the other workers do.
func TestBatchKeepsAnAccountsOrder(t *testing.T) {
	s, n := newServer(t)
	n.decision = decision(bucket.OK)
	n.trace = true
	var items []string
	for i := range 1000 {
		items = append(items, fmt.Sprintf(`{"account":"a%d","model":"m","tokens":%d}`, i%7, i))
	}
	if a := ask(s, "POST", "/v1/check/batch", `{"checks":[`+strings.Join(items, ",")+`]}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	last, asked := map[string]int64{}, 0
	for _, c := range n.traced {
		if before, ok := last[c.Account]; ok && before > c.Tokens {
			t.Fatalf("%s: %d after %d", c.Account, c.Tokens, before)
		}
		last[c.Account] = c.Tokens
		asked++
	}
	if asked != 1000 {
		t.Errorf("%d were asked", asked)
	}
	for _, doc := range []string{`{"checks":[]}`, `{}`, `{"checks":[` + strings.Join(append(items, items[0]), ",") + `]}`} {
		a := ask(s, "POST", "/v1/check/batch", doc)
		if _, field := a.code(t); a.status != 400 || field != "checks" {
			t.Errorf("%d %.100s", a.status, a.body)
		}
	}
}
