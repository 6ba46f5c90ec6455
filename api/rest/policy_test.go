package rest

import (
	"strings"
	"testing"

	"quorate/fsm/ledger"
)

const smallPolicy = `{"schema":1,"categories":{"llm":{}},"tiers":[{"level":1,"spend":"5","limits":{"llm":[{"unit":"requests","limit":7,"window":"1m"}]}}]}`

func TestPolicyIsReplacedWhole(t *testing.T) {
	s, n := newServer(t)
	was := ask(s, "GET", "/v1/policy", "")
	for _, tag := range []string{`"99"`, "99", `"0"`, `"seven"`, `W/"1"`, "0"} {
		a := ask(s, "PUT", "/v1/policy", smallPolicy, "If-Match", tag)
		if code, _ := a.code(t); a.status != 412 || code != "revision_mismatch" {
			t.Errorf("If-Match %s: %d %s", tag, a.status, a.body)
		}
	}
	a := ask(s, "PUT", "/v1/policy", smallPolicy, "If-Match", was.get("ETag"))
	if a.status != 200 || a.get("ETag") == was.get("ETag") || !strings.Contains(a.body, `"limit":7`) {
		t.Fatalf("%d %s %s", a.status, a.get("ETag"), a.body)
	}
	now := ask(s, "GET", "/v1/policy", "")
	if now.body != a.body || now.get("ETag") != a.get("ETag") {
		t.Errorf("read %s", now.body)
	}
	if a := ask(s, "GET", "/v1/policy?format=yaml", ""); a.body != smallPolicy {
		t.Errorf("the document: %s", a.body)
	}
	if a := ask(s, "PUT", "/v1/policy", string(ledger.DefaultPolicy()), "If-Match", "*"); a.status != 200 || n.Table().Revision < 3 {
		t.Errorf("back: %d %s", a.status, a.body)
	}
}

func TestBadPolicyChangesNothing(t *testing.T) {
	s, n := newServer(t)
	was, index := n.Table().Revision, n.Index()
	bad := strings.NewReplacer(`"limit":7`, `"limit":0`, `"1m"`, `"1 minute"`).Replace(smallPolicy)
	for _, method := range []struct{ method, path string }{{"PUT", "/v1/policy"}, {"POST", "/v1/policy/validate"}} {
		a := ask(s, method.method, method.path, bad)
		code, _ := a.code(t)
		for _, path := range []string{`"path":"tiers[0].limits.llm[0].limit"`, `"path":"tiers[0].limits.llm[0].window"`} {
			if a.status != 422 || code != "invalid_policy" || !strings.Contains(a.body, path) {
				t.Errorf("%s: %d %s lacks %s", method.path, a.status, a.body, path)
			}
		}
	}
	if n.Table().Revision != was || n.Index() != index {
		t.Error("a bad policy got into the log")
	}
	if a := ask(s, "POST", "/v1/policy/validate", smallPolicy); a.status != 200 || a.body != `{"valid":true}` || n.Index() != index {
		t.Errorf("a good one: %d %s", a.status, a.body)
	}
	for _, tag := range []string{"seven", `"`, `"1", "2"`, "-1"} {
		a := ask(s, "PUT", "/v1/policy", smallPolicy, "If-Match", tag)
		if _, field := a.code(t); a.status != 400 || field != "If-Match" {
			t.Errorf("If-Match %s: %d %s", tag, a.status, a.body)
		}
	}
}
