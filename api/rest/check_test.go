package rest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

const aCheck = `{"account":"acme","model":"meta-llama/Llama-3.3-70B-Instruct-Turbo","category":"llm","requests":1,"tokens":0,"dry_run":false,"reserve":false}`

func llmLimits() []bucket.Status {
	l := bucket.Limit{Unit: bucket.Requests, Limit: 1800, Burst: 1800, Window: time.Minute}
	return []bucket.Status{{Scoped: bucket.NewScoped("llm", l, bucket.SourceTier), Remaining: 1799, Reset: 33333334, Next: 33333334}}
}

func decision(r bucket.Reason) bucket.Decision {
	d := bucket.Decision{Reason: r, Tier: 2, Category: "llm", Hit: -1, DecidedBy: "n2", Index: 42}
	switch r {
	case bucket.FreeTier, bucket.TierAccess:
		d.RequiredTier, d.SpendNeeded = 3, 50_000_000_000
	case bucket.RateLimited:
		d.Limits, d.Hit, d.RetryAfter = llmLimits(), 0, 1001*time.Millisecond-1
		d.Limits[0].Remaining = 0
	case bucket.OK:
		d.Limits = llmLimits()
	}
	return d
}

func TestCheckAnswersEachReason(t *testing.T) {
	for _, c := range []struct {
		reason  bucket.Reason
		status  int
		headers map[string]string
	}{
		{bucket.OK, 200, map[string]string{
			"RateLimit-Policy": `"llm-requests-1m";q=1800;w=60`, "RateLimit": `"llm-requests-1m";r=1799;t=1`,
			"Retry-After": "", "retry-after-ms": "", "x-should-retry": "",
		}},
		{bucket.Suspended, 403, map[string]string{"x-should-retry": "false", "RateLimit": "", "Retry-After": ""}},
		{bucket.FreeTier, 403, map[string]string{"x-should-retry": "false", "RateLimit": ""}},
		{bucket.TierAccess, 403, map[string]string{"x-should-retry": "false"}},
		{bucket.UsageLimit, 402, map[string]string{"x-should-retry": "false", "Retry-After": ""}},
		{bucket.RateLimited, 429, map[string]string{
			"RateLimit-Policy": `"llm-requests-1m";q=1800;w=60`, "RateLimit": `"llm-requests-1m";r=0;t=2`,
			"Retry-After": "2", "retry-after-ms": "1001", "x-should-retry": "",
		}},
	} {
		s, n := newServer(t)
		n.decision = decision(c.reason)
		a := ask(s, "POST", "/v1/check", aCheck)
		if code, _ := a.code(t); a.status != c.status || code != c.reason.String() {
			t.Errorf("%s: %d %s", c.reason, a.status, a.body)
		}
		c.headers["Content-Type"], c.headers["Cache-Control"], c.headers["X-Quorate-Index"] = "application/json", "no-store", "42"
		for name, want := range c.headers {
			if got := a.get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", c.reason, name, got, want)
			}
		}
		if want := []string{c.reason.String() + " true"}; !slices.Equal(n.counted, want) {
			t.Errorf("%s: counted %q", c.reason, n.counted)
		}
	}
}

func TestCheckThatNeverFits(t *testing.T) {
	s, n := newServer(t)
	n.decision = decision(bucket.RateLimited)
	n.decision.NeverFits, n.decision.RetryAfter = true, 0
	a := ask(s, "POST", "/v1/check", aCheck)
	if a.status != 429 || a.get("x-should-retry") != "false" || a.get("Retry-After")+a.get("retry-after-ms") != "" || a.get("RateLimit") == "" {
		t.Errorf("%d\n%s\n%s", a.status, a.header, a.body)
	}
}

func TestCheckWithoutLimitsHasNoRateHeaders(t *testing.T) {
	s, n := newServer(t)
	n.decision = decision(bucket.OK)
	n.decision.Limits = nil
	if a := ask(s, "POST", "/v1/check", aCheck); a.status != 200 || a.get("RateLimit")+a.get("RateLimit-Policy") != "" {
		t.Errorf("%d\n%s", a.status, a.header)
	}
}

func TestCheckThatIsNoDecision(t *testing.T) {
	for _, c := range []struct {
		name, body  string
		reason      bucket.Reason
		err         error
		status      int
		code, field string
	}{
		{"unavailable", aCheck, bucket.Unavailable, nil, 503, "unavailable", ""},
		{"unknown model", `{"account":"a","model":"m"}`, bucket.UnknownModel, nil, 404, "unknown_model", "model"},
		{"unknown category", `{"account":"a","category":"c"}`, bucket.UnknownModel, nil, 404, "unknown_model", "category"},
		{"behind", aCheck, 0, fmt.Errorf("wait: %w", ledger.ErrBehind), 503, "behind", ""},
		{"overloaded", aCheck, 0, ledger.ErrOverloaded, 503, "overloaded", ""},
		{"no account", `{"model":"m"}`, 0, nil, 400, "invalid_request", "account"},
		{"nothing asked for", `{"account":"a"}`, 0, nil, 400, "invalid_request", "model"},
		{"reserve", `{"account":"a","model":"m","reserve":true,"dry_run":true}`, 0, nil, 400, "invalid_request", "reserve"},
		{"float", `{"account":"a","model":"m","tokens":1.0}`, 0, nil, 400, "invalid_request", "tokens"},
		{"no body", ``, 0, nil, 400, "invalid_request", ""},
	} {
		s, n := newServer(t)
		n.decision, n.err = decision(c.reason), c.err
		a := ask(s, "POST", "/v1/check", c.body)
		code, field := a.code(t)
		if a.status != c.status || code != c.code || field != c.field {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
		if a.get("Content-Type") != "application/problem+json" || a.get("X-Quorate-Index") != "7" || a.get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s", c.name, a.header)
		}
		if (a.get("Retry-After") != "") != (c.code == "overloaded") {
			t.Errorf("%s: Retry-After %q", c.name, a.get("Retry-After"))
		}
	}
}

func TestCheckPassesOnWhatItWasAsked(t *testing.T) {
	s, n := newServer(t)
	n.decision = decision(bucket.OK)
	ask(s, "POST", "/v1/check", `{"account":"a","model":"m","category":"c","requests":2,"tokens":3,"dry_run":true}`, "x-quorate-min-index", "99")
	want := bucket.Check{Account: "a", Model: "m", Category: "c", Requests: 2, Tokens: 3, DryRun: true, MinIndex: 99}
	if n.asked != want {
		t.Errorf("asked %+v", n.asked)
	}
	ask(s, "POST", "/v1/check", `{"account":"b","category":"c"}`)
	if want = (bucket.Check{Account: "b", Category: "c", Requests: 1}); n.asked != want {
		t.Errorf("after that asked %+v", n.asked)
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	s, ctx := hotPath(t, bucket.OK)
	if n := testing.AllocsPerRun(1000, func() { s.handle(ctx); ctx.Response.Reset() }); n > 0 && !raceEnabled {
		t.Errorf("%v allocations a check", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	s, ctx := hotPath(b, bucket.OK)
	b.ReportAllocs()
	for b.Loop() {
		s.handle(ctx)
		ctx.Response.Reset()
	}
}

// hotPath returns a server whose Checker does almost nothing, and a request that can be
// repeated.
func hotPath(tb testing.TB, r bucket.Reason) (*Server, *fasthttp.RequestCtx) {
	s, _ := newServer(tb)
	d := decision(r)
	s.cfg.Checker, s.cfg.Metrics = fixed{d: &d}, uncounted{s.cfg.Metrics}
	ctx := &fasthttp.RequestCtx{}
	ctx.Request.Header.SetMethod("POST")
	ctx.Request.SetRequestURI("/v1/check")
	ctx.Request.SetBodyString(aCheck)
	return s, ctx
}
