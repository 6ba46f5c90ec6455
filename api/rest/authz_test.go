package rest

import (
	"encoding/json"
	"strings"
	"testing"

	"quorate/limiter/bucket"
)

func TestAuthzAnswersEachReason(t *testing.T) {
	for _, c := range []struct {
		reason bucket.Reason
		status int
		code   string
		kind   string
	}{
		{bucket.OK, 200, "", ""},
		{bucket.Suspended, 403, "suspended", "permission_error"},
		{bucket.FreeTier, 403, "free_tier", "permission_error"},
		{bucket.TierAccess, 403, "tier_access", "permission_error"},
		{bucket.UsageLimit, 402, "usage_limit", "insufficient_quota"},
		{bucket.RateLimited, 429, "rate_limit_exceeded", "requests"},
		{bucket.Unavailable, 503, "unavailable", "api_error"},
		{bucket.UnknownModel, 404, "unknown_model", "api_error"},
	} {
		s, n := newServer(t)
		n.decision = decision(c.reason)
		for _, deny := range []string{"", "&deny=403"} {
			a := ask(s, "GET", "/v1/authz?account=acme&model=m"+deny, "ignored")
			status, told := a.status, a.get("X-Quorate-Status")
			if deny != "" && c.status != 200 {
				if want := map[int]string{402: "402", 403: "403", 404: "404", 429: "429", 503: "503"}[c.status]; status != 403 || told != want {
					t.Errorf("%s%s: %d, status header %q", c.reason, deny, status, told)
				}
			} else if status != c.status || told != "" {
				t.Errorf("%s%s: %d, status header %q", c.reason, deny, status, told)
			}
			if got := a.get("X-Quorate-Reason"); got != c.reason.String() {
				t.Errorf("%s%s: reason header %q", c.reason, deny, got)
			}
			if (c.reason == bucket.OK || c.reason == bucket.RateLimited) != (a.get("RateLimit") != "") {
				t.Errorf("%s%s: RateLimit %q", c.reason, deny, a.get("RateLimit"))
			}
			if c.status == 200 {
				continue
			}
			var body struct {
				Error struct{ Message, Type, Code string }
			}
			if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Error.Code != c.code || body.Error.Type != c.kind || body.Error.Message == "" {
				t.Errorf("%s%s: %s", c.reason, deny, a.body)
			}
			if strings.Contains(a.body, "n1") || strings.Contains(a.body, "n2") {
				t.Errorf("%s%s: a denial names nodes: %s", c.reason, deny, a.body)
			}
		}
	}
}

func TestAuthzReadsTheQueryBeforeHeaders(t *testing.T) {
	s, n := newServer(t)
	n.decision = decision(bucket.OK)
	n.decision.Reservation = "r-7"
	a := ask(s, "DELETE", "/v1/authz?account=acme&tokens=5&reserve=true", "", "X-Quorate-Account", "other", "X-Quorate-Model", "m",
		"X-Quorate-Requests", "0", "X-Quorate-Tokens", "9", "X-Quorate-Reserve", "false", "X-Quorate-Min-Index", "7")
	want := bucket.Check{Account: "acme", Model: "m", Requests: 0, Tokens: 5, Reserve: true, MinIndex: 7}
	if a.status != 200 || n.asked != want || a.get("X-Quorate-Reservation") != "r-7" {
		t.Errorf("%d, asked %+v, reservation %q", a.status, n.asked, a.get("X-Quorate-Reservation"))
	}
	for query, word := range map[string]string{
		"model=m": "account", "account=a%20b&model=m": "account", "account=a": "model", "account=a&model=m&requests=-1": "requests",
		"account=a&model=m&tokens=1e3": "tokens", "account=a&model=m&reserve=1": "reserve", "account=a&model=m&deny=429": "deny",
	} {
		if a := ask(s, "GET", "/v1/authz?"+query, ""); a.status != 400 || !strings.Contains(a.body, word) || a.get("X-Quorate-Reason") != "invalid_request" {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}
