package bucket_test

import (
	"reflect"
	"testing"

	"quorate/limiter/bucket"
	"quorate/limiter/codec"
	"quorate/testing/golden"
)

// TestEncodingsStay: the bytes of a check, its decision and its settlement are
// those of earlier versions, with which this one shares a cluster during an
// upgrade.
func TestEncodingsStay(t *testing.T) {
	f := golden.Open(t, "testdata/golden.txt")
	for _, c := range []struct {
		name string
		want codec.Encoder
		into codec.Decoder
	}{
		{"check/zero", &bucket.Check{}, &bucket.Check{}},
		{"check/full", &bucket.Check{
			Account: "acme", Model: "meta-llama/Llama-3.3-70B", Category: "llm", Requests: 1, Tokens: bucket.MaxCost,
			DryRun: true, Reserve: true, MinIndex: 1 << 40,
		}, &bucket.Check{}},
		{"check/small", &bucket.Check{Account: "a", Category: "c", Requests: 128, Tokens: 70_000, MinIndex: 200}, &bucket.Check{}},
		{"decision/admitted", &bucket.Decision{
			Tier: 1, Category: "llm", Hit: -1, DecidedBy: "n1", Index: 42, Reservation: "n1-0123456789abcdef",
			Limits: []bucket.Status{fullDecision().Limits[0]},
		}, &bucket.Decision{}},
		{"decision/denied", fullDecision(), &bucket.Decision{}},
		{"settlement/used", &bucket.Settlement{Account: "acme", Reservation: "n1-0123456789abcdef", Tokens: 1234, Amount: 1000 << 40}, &bucket.Settlement{}},
		{"settlement/nano-dollars", &bucket.Settlement{Account: "acme", Reservation: "r", Tokens: 7, Amount: 1050}, &bucket.Settlement{}},
		{"decision/nano-dollars", &bucket.Decision{Reason: bucket.FreeTier, Category: "llm", RequiredTier: 1, SpendNeeded: 4_999_999_999, Hit: -1}, &bucket.Decision{}},
		{"settlement/released", &bucket.Settlement{Account: "acme", Reservation: "r", Release: true}, &bucket.Settlement{}},
	} {
		b := f.Compare(c.name, encode(t, c.want))
		if err := decode(b, c.into); err != nil || !reflect.DeepEqual(any(c.into), any(c.want)) {
			t.Errorf("%s is read as %+v, %v; want %+v", c.name, c.into, err, c.want)
		}
	}
}
