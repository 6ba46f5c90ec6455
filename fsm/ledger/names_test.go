package ledger_test

import (
	"strings"
	"testing"

	"quorate/fsm/ledger"
)

func TestValidNames(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	tests := []struct {
		kind  string
		valid func(string) bool
		good  []string
		bad   []string
	}{
		{
			"account", ledger.ValidAccount,
			[]string{"a", "Z", "0", "acme", "user:42", "a@b.c", "a_b-c.d:e@f", "a.", long(128)},
			[]string{"", ".a", "-a", "_a", ":a", "@a", "a b", "a/b", "a%20b", "a\n", "a\x00", "é", "a,b", long(129)},
		},
		{
			"category", ledger.ValidCategory,
			[]string{"llm", "a.b:c", long(64)},
			[]string{"", "-llm", "a b", long(65)},
		},
		{
			"model", ledger.ValidModel,
			[]string{"m", "black-forest-labs/FLUX.1.1-pro", "!", "~", "*", long(256)},
			[]string{"", " ", "a b", "a\tb", "é", "\x7f", long(257)},
		},
		{
			"key", ledger.ValidKey,
			[]string{"k", "an invoice of May", " ", "~", long(128)},
			[]string{"", "a\n", "\x00", "é", "\x7f", long(129)},
		},
	}
	for _, tt := range tests {
		for _, s := range tt.good {
			if !tt.valid(s) {
				t.Errorf("%q is no %s", s, tt.kind)
			}
		}
		for _, s := range tt.bad {
			if tt.valid(s) {
				t.Errorf("%q is a valid %s", s, tt.kind)
			}
		}
	}
}
