package wire

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

func scoped(name string, u bucket.Unit, limit int64, w time.Duration) bucket.Scoped {
	return bucket.NewScoped(name, bucket.Limit{Unit: u, Limit: limit, Burst: limit, Window: w}, bucket.SourceTier)
}

func llm() bucket.Decision {
	return bucket.Decision{
		Tier: 2, Category: "llm", Hit: -1, DecidedBy: "n2",
		Limits: []bucket.Status{{
			Scoped: scoped("llm", bucket.Requests, 1800, time.Minute), Remaining: 1799,
			Reset: 33_333_334 * time.Nanosecond, Next: 33_333_334 * time.Nanosecond,
		}},
	}
}

func TestDecisionBody(t *testing.T) {
	limited := llm()
	limited.Reason, limited.Hit, limited.RetryAfter = bucket.RateLimited, 0, 33*time.Millisecond+1
	limited.Limits[0].Remaining = 0
	never := limited
	never.NeverFits = true
	const limit0 = `{"name":"llm-requests-1m","unit":"requests","limit":1800,"burst":1800,"window":"1m","remaining":0,"reset_ms":34,"source":"tier"}`
	for name, c := range map[string]struct {
		d    bucket.Decision
		want string
	}{
		"allowed, as the contract has it": {llm(), `{"allowed":true,"reason":"ok","account":"acme","tier":2,"category":"llm",` +
			`"limits":[{"name":"llm-requests-1m","unit":"requests","limit":1800,"burst":1800,"window":"1m","remaining":1799,"reset_ms":34,"source":"tier"}],` +
			`"retry_after_ms":0,"decided_by":"n2","node":"n1","degraded":false}`},
		"rate limited": {limited, `{"allowed":false,"reason":"rate_limited","account":"acme","tier":2,"category":"llm","limits":[` + limit0 +
			`],"limit_hit":"llm-requests-1m","retry_after_ms":34,"decided_by":"n2","node":"n1","degraded":false}`},
		"never fits": {never, `{"allowed":false,"reason":"rate_limited","account":"acme","tier":2,"category":"llm","limits":[` + limit0 +
			`],"limit_hit":"llm-requests-1m","never_fits":true,"retry_after_ms":null,"decided_by":"n2","node":"n1","degraded":false}`},
		"free tier": {
			bucket.Decision{Reason: bucket.FreeTier, Category: "llm", RequiredTier: 1, SpendNeeded: 5_000_000_000, Hit: -1, DecidedBy: "n1", Degraded: true},
			`{"allowed":false,"reason":"free_tier","account":"acme","tier":0,"category":"llm","limits":[],"required_tier":1,"spend_needed":"5.00",` +
				`"retry_after_ms":0,"decided_by":"n1","node":"n1","degraded":true}`,
		},
		"usage limit": {
			bucket.Decision{Reason: bucket.UsageLimit, Tier: 1, Category: "image", Hit: -1, DecidedBy: "n1"},
			`{"allowed":false,"reason":"usage_limit","account":"acme","tier":1,"category":"image","limits":[],` +
				`"retry_after_ms":0,"decided_by":"n1","node":"n1","degraded":false}`,
		},
	} {
		got := string(AppendDecision(nil, "acme", "n1", &c.d))
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
		if err := json.Unmarshal([]byte(got), new(CheckResponse)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRateLimitHeaders(t *testing.T) {
	d := llm()
	d.Limits = append(d.Limits, bucket.Status{
		Scoped: scoped(`a"b\c`, bucket.Tokens, 500, time.Hour), Remaining: 3, Next: 7*time.Second + 1,
	})
	if got, want := string(AppendRateLimitPolicy(nil, d.Limits)), `"llm-requests-1m";q=1800;w=60, "a\"b\\c-tokens-1h";q=500;qu="tokens";w=3600`; got != want {
		t.Errorf("policy %s, want %s", got, want)
	}
	if got, want := string(AppendRateLimit(nil, &d)), `"llm-requests-1m";r=1799;t=1, "a\"b\\c-tokens-1h";r=3;t=8`; got != want {
		t.Errorf("limit %s, want %s", got, want)
	}
	d.Reason, d.Hit, d.RetryAfter = bucket.RateLimited, 1, time.Minute
	if got, want := string(AppendRateLimit(nil, &d)), `"llm-requests-1m";r=1799;t=1, "a\"b\\c-tokens-1h";r=3;t=60`; got != want {
		t.Errorf("limit hit %s, want %s", got, want)
	}
}

func TestDecisionAllocatesNothing(t *testing.T) {
	denied := bucket.Decision{Reason: bucket.FreeTier, Category: "llm", RequiredTier: 1, SpendNeeded: 5_000_000_000, Hit: -1}
	allowed := llm()
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		buf = AppendDecision(buf[:0], "acme", "n1", &allowed)
		buf = AppendRateLimitPolicy(buf[:0], allowed.Limits)
		buf = AppendRateLimit(buf[:0], &allowed)
		buf = AppendDecision(buf[:0], "acme", "n1", &denied)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMoneyIsWrittenAsTheLedgerDoes(t *testing.T) {
	for _, m := range []ledger.Money{0, 1, 10, 1_050, 12_300, 5_000_000, 12_500_000, 999_999, 1_000_001, -1, -2_500_000, math.MaxInt64} {
		if got, want := string(appendMoney(nil, m)), `"`+m.String()+`"`; got != want {
			t.Errorf("%d: %s, want %s", m, got, want)
		}
	}
}

func TestWindowIsWrittenAsTheBucketDoes(t *testing.T) {
	for _, w := range []time.Duration{time.Second, 90 * time.Second, time.Minute, time.Hour, 24 * time.Hour, 25 * time.Hour, bucket.MaxWindow} {
		if got, want := string(appendWindow(nil, w)), bucket.FormatWindow(w); got != want {
			t.Errorf("%s: %s, want %s", w, got, want)
		}
	}
}

func TestCeilRoundsUp(t *testing.T) {
	for _, c := range []struct {
		d, unit time.Duration
		want    int64
	}{
		{0, time.Second, 0},
		{1, time.Millisecond, 1},
		{time.Millisecond, time.Millisecond, 1},
		{time.Millisecond + 1, time.Millisecond, 2},
		{math.MaxInt64, time.Second, 9223372037},
	} {
		if got := Ceil(c.d, c.unit); got != c.want {
			t.Errorf("%s in %s: %d, want %d", c.d, c.unit, got, c.want)
		}
	}
}

func BenchmarkAppendDecision(b *testing.B) {
	d := llm()
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendDecision(buf[:0], "acme", "n1", &d)
	}
}

func BenchmarkParseCheck(b *testing.B) {
	doc := []byte(`{"account":"acme","model":"meta-llama/Llama-3.3-70B-Instruct-Turbo","category":"llm","requests":1,"tokens":0,"dry_run":false,"reserve":false}`)
	var s Scanner
	var r CheckRequest
	b.ReportAllocs()
	for b.Loop() {
		s.Reset(doc)
		if err := r.Parse(&s); err != nil {
			b.Fatal(err)
		}
	}
}
