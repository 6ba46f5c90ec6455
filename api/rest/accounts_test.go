package rest

import (
	"errors"
	"strings"
	"testing"

	"quorate/fsm/ledger"
)

func TestAccountIsMadeChangedAndRead(t *testing.T) {
	s, _ := newServer(t)
	a := ask(s, "GET", "/v1/accounts/acme", "")
	if code, _ := a.code(t); a.status != 404 || code != "unknown_account" {
		t.Errorf("before: %d %s", a.status, a.body)
	}
	made := ask(s, "PATCH", "/v1/accounts/acme", `{"plan":"scale","usage_limit":"0.00","suspended":true}`)
	for _, want := range []string{`"plan":"scale"`, `"usage_limit":"0.00"`, `"suspended":true`, `"blocked_by":"suspended"`} {
		if made.status != 200 || !strings.Contains(made.body, want) || made.get("X-Quorate-Index") != "8" {
			t.Errorf("%d %s lacks %s", made.status, made.body, want)
		}
	}
	read := ask(s, "GET", "/v1/accounts/acme", "")
	if read.status != 200 || read.body != made.body || read.get("ETag") != made.get("ETag") || len(read.get("ETag")) < 3 {
		t.Errorf("read %d %s %s", read.status, read.get("ETag"), read.body)
	}
	less := ask(s, "PATCH", "/v1/accounts/acme", `{"usage_limit":null,"suspended":false}`)
	if !strings.Contains(less.body, `"usage_limit":null,"suspended":false,"blocked_by":null`) || less.get("ETag") == read.get("ETag") {
		t.Errorf("%s %s", less.get("ETag"), less.body)
	}
}

func TestPatchRefuses(t *testing.T) {
	s, n := newServer(t)
	for body, field := range map[string]string{
		`{"overrides":null}`: "overrides", `{"overrides":[{"match":7}]}`: "overrides.match", `{"overrides":[{"limits":[{"burst":1.0}]}]}`: "overrides.limits.burst", `{"overrides":[{"expires_at":"soon"}]}`: "overrides.expires_at", `{"overrides":[{"more":1}]}`: "more", `{"plan":"gold"}`: "plan", `{"usage_limit":1}`: "usage_limit", `{"suspended":1}`: "suspended", ``: "",
	} {
		a := ask(s, "PATCH", "/v1/accounts/acme", body)
		if code, got := a.code(t); a.status != 400 || code != "invalid_request" || got != field {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if n.Account("acme") != nil {
		t.Error("a refused patch made the account")
	}
}

func TestWritesThatTheClusterCannotFinish(t *testing.T) {
	for _, c := range []struct {
		err  error
		code string
	}{
		{ledger.ErrNoQuorum, "no_quorum"},
		{ledger.ErrOutcomeUnknown, "outcome_unknown"},
		{ledger.ErrOverloaded, "overloaded"},
		{ledger.ErrBehind, "behind"},
		{errors.New("surprise"), "internal"},
	} {
		for target, body := range map[string]string{
			"PATCH /v1/accounts/a":       `{}`,
			"POST /v1/accounts/a/ledger": `{"key":"k","type":"usage","amount":"1"}`,
			"POST /v1/ledger":            `{"entries":[{"account":"a","key":"k","type":"usage","amount":"1"}]}`,
		} {
			s, n := newServer(t)
			n.err = c.err
			method, path, _ := strings.Cut(target, " ")
			a := ask(s, method, path, body)
			want := 503
			if c.code == "internal" {
				want = 500
			}
			if code, _ := a.code(t); a.status != want || code != c.code || strings.Contains(a.body, "surprise") {
				t.Errorf("%s, %v: %d %s", target, c.err, a.status, a.body)
			}
			if (a.get("Retry-After") != "") != (c.code == "overloaded") || len(n.counted) > 0 {
				t.Errorf("%s, %v: Retry-After %q, counted %q", target, c.err, a.get("Retry-After"), n.counted)
			}
		}
	}
}
