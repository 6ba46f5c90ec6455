package bucket_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/limiter/bucket"
	"quorate/limiter/codec"
)

func encode(t testing.TB, v codec.Encoder) []byte {
	t.Helper()
	b, err := codec.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(b []byte, v codec.Decoder) error { return codec.Unmarshal(b, v) }

func fullDecision() *bucket.Decision {
	return &bucket.Decision{
		Reason: bucket.RateLimited, Tier: 5, Category: "llm", RequiredTier: 2, SpendNeeded: 45_000_000_000,
		Limits: []bucket.Status{
			{Scoped: bucket.Scoped{
				Limit: bucket.Limit{Unit: bucket.Requests, Limit: 600, Burst: 700, Window: time.Minute},
				Name:  "llm-requests-1m", Source: bucket.SourceOverride,
			}, Remaining: 3, Reset: time.Second, Next: time.Millisecond},
			{Scoped: bucket.Scoped{
				Limit: bucket.Limit{Unit: bucket.Tokens, Limit: bucket.MaxLimit, Burst: bucket.MaxLimit, Window: bucket.MaxWindow},
				Name:  "llm-tokens-31d",
			}, Reset: math.MaxInt64},
		},
		Hit: 1, RetryAfter: math.MaxInt64, NeverFits: true, DecidedBy: "n2", Degraded: true, Index: math.MaxUint64,
	}
}

func TestCheckRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := bucket.Check{
			Account:  rapid.StringMatching(`[a-z0-9.:@-]{0,128}`).Draw(t, "account"),
			Model:    rapid.StringMatching(`[!-~]{0,256}`).Draw(t, "model"),
			Category: rapid.StringMatching(`[a-z]{0,64}`).Draw(t, "category"),
			Requests: rapid.Int64Range(0, bucket.MaxCost).Draw(t, "requests"),
			Tokens:   rapid.Int64Range(0, bucket.MaxCost).Draw(t, "tokens"),
			DryRun:   rapid.Bool().Draw(t, "dry run"),
			MinIndex: rapid.Uint64().Draw(t, "index"),
		}
		b, err := codec.Append(nil, &want)
		if err != nil {
			t.Fatal(err)
		}
		var got bucket.Check
		if err := decode(b, &got); err != nil || got != want {
			t.Fatalf("got %+v, %v; want %+v", got, err, want)
		}
	})
}

func TestDecisionRoundTrip(t *testing.T) {
	for _, want := range []*bucket.Decision{
		{Hit: -1},
		{Reason: bucket.UnknownModel, Hit: -1},
		{Reason: bucket.FreeTier, Category: "image", RequiredTier: 1, SpendNeeded: 5_000_000_000, Hit: -1},
		fullDecision(),
	} {
		// A decoder is used again and again; nothing of the decision before may stay.
		got := fullDecision()
		if err := decode(encode(t, want), got); err != nil {
			t.Fatal(err)
		}
		if len(got.Limits) == 0 {
			got.Limits = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

func TestDecodingRefuses(t *testing.T) {
	manyLimits := &bucket.Decision{Hit: -1}
	for range 65 {
		manyLimits.Limits = append(manyLimits.Limits, fullDecision().Limits[0])
	}
	changed := func(change func(*bucket.Decision)) *bucket.Decision {
		d := fullDecision()
		change(d)
		return d
	}
	tests := []struct {
		name string
		in   codec.Encoder
		into codec.Decoder
	}{
		{"an account too long", &bucket.Check{Account: strings.Repeat("a", bucket.MaxAccount+1)}, &bucket.Check{}},
		{"a model too long", &bucket.Check{Model: strings.Repeat("a", bucket.MaxModel+1)}, &bucket.Check{}},
		{"a category too long", &bucket.Check{Category: strings.Repeat("a", bucket.MaxCategory+1)}, &bucket.Check{}},
		{"negative requests", &bucket.Check{Requests: -1}, &bucket.Check{}},
		{"too many requests", &bucket.Check{Requests: bucket.MaxCost + 1}, &bucket.Check{}},
		{"negative tokens", &bucket.Check{Tokens: -1}, &bucket.Check{}},
		{"too many tokens", &bucket.Check{Tokens: bucket.MaxCost + 1}, &bucket.Check{}},
		{"a check for a decision", &bucket.Check{}, &bucket.Decision{}},
		{"a decision for a check", fullDecision(), &bucket.Check{}},
		{"too many limits", manyLimits, &bucket.Decision{}},
		{"a reason that is none", changed(func(d *bucket.Decision) { d.Reason = bucket.NumReasons }), &bucket.Decision{}},
		{"a hit outside of the limits", changed(func(d *bucket.Decision) { d.Hit = 2 }), &bucket.Decision{}},
		{"a hit below none", changed(func(d *bucket.Decision) { d.Hit = -2 }), &bucket.Decision{}},
		{"a window of nothing", changed(func(d *bucket.Decision) { d.Limits[0].Window = 0 }), &bucket.Decision{}},
		{"a limit of nothing", changed(func(d *bucket.Decision) { d.Limits[0].Limit.Limit = 0 }), &bucket.Decision{}},
		{"a limit's name too long", changed(func(d *bucket.Decision) { d.Limits[0].Name = strings.Repeat("a", 1000) }), &bucket.Decision{}},
	}
	for _, tt := range tests {
		if err := decode(encode(t, tt.in), tt.into); !errors.Is(err, codec.ErrBounds) {
			t.Errorf("%s: %v, want ErrBounds", tt.name, err)
		}
	}
}

// TestNumbersAreNotCut: a number that does not fit its field is refused, not
// cut to one that does (256 is no OK).
func TestNumbersAreNotCut(t *testing.T) {
	b := encode(t, &bucket.Decision{Reason: bucket.RateLimited, Hit: -1})
	// The reason is the first element: 0x9d (array of thirteen), then the number.
	if b[0] != 0x9d || b[1] != byte(bucket.RateLimited) {
		t.Fatalf("encoding starts with % x", b[:2])
	}
	wide := append([]byte{0x9d, 0xcd, 0x01, 0x00}, b[2:]...)
	var d bucket.Decision
	if err := decode(wide, &d); err == nil {
		t.Errorf("reason 256 was read as %v", d.Reason)
	}
}

// TestLengthsAreCheckedFirst: a length of 4 GiB in a few bytes is refused
// before anything is allocated for it.
func TestLengthsAreCheckedFirst(t *testing.T) {
	for name, b := range map[string][]byte{
		"string": {0x98, 0xdb, 0xff, 0xff, 0xff, 0xff, 8: 0},
		"bytes":  {0x98, 0xc6, 0xff, 0xff, 0xff, 0xff, 8: 0},
		"array":  {0xdd, 0xff, 0xff, 0xff, 0xff},
	} {
		allocated := testing.AllocsPerRun(1, func() {
			if err := decode(b, new(bucket.Check)); !errors.Is(err, codec.ErrBounds) {
				t.Errorf("%s: %v, want ErrBounds", name, err)
			}
		})
		if allocated > 100 {
			t.Errorf("%s: %v allocations", name, allocated)
		}
	}
}

func TestDecodingPartOfAMessageFails(t *testing.T) {
	check := encode(t, &bucket.Check{Account: "acme", Model: "m", Category: "llm", Requests: 1, MinIndex: 7})
	decision := encode(t, fullDecision())
	for n := range check {
		if decode(check[:n], new(bucket.Check)) == nil {
			t.Errorf("%d of %d bytes made a check", n, len(check))
		}
	}
	for n := range decision {
		if decode(decision[:n], new(bucket.Decision)) == nil {
			t.Errorf("%d of %d bytes made a decision", n, len(decision))
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(encode(f, &bucket.Check{Account: "acme", Model: "meta-llama/Llama-3.3-70B", Requests: 1, MinIndex: 1}))
	f.Add([]byte{0x98, 0xdb, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second bucket.Check
		if decode(b, &first) != nil {
			return
		}
		if err := decode(encode(t, &first), &second); err != nil || first != second {
			t.Fatalf("read %+v, then %+v, %v", first, second, err)
		}
	})
}

func FuzzDecision(f *testing.F) {
	f.Add(encode(f, fullDecision()))
	f.Add(encode(f, &bucket.Decision{Hit: -1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var first, second bucket.Decision
		if decode(b, &first) != nil {
			return
		}
		if err := decode(encode(t, &first), &second); err != nil {
			t.Fatalf("read %+v, then %v", first, err)
		}
		if len(first.Limits) == 0 {
			first.Limits, second.Limits = nil, nil
		}
		if !reflect.DeepEqual(first, second) {
			t.Fatalf("read %+v, then %+v", first, second)
		}
	})
}
