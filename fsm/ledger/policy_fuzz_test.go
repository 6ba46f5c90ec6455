package ledger_test

import (
	"bytes"
	"strings"
	"testing"

	"quorate/fsm/ledger"
)

// FuzzPolicy checks that compiling any document twice has the same result.
func FuzzPolicy(f *testing.F) {
	t, err := ledger.Compile(1, nil)
	if err == nil {
		f.Add(t.Doc)
	}
	for _, doc := range []string{
		"schema: 1\n", "{}", "", "\x00", "&a [*a]", "a: &a [b]\nc: *a\n",
		`{"schema":1,"categories":{"llm":{}},"tiers":[{"level":1,"name":"one","spend":"5","limits":{"llm":[{"unit":"requests","limit":10,"window":"1m"}]}}]}`,
		"schema: 1\ncategories: {llm: {min_tier: 1}}\ntiers:\n  - {level: 1, spend: \"5.00\", limits: {llm: [{unit: tokens, limit: 1, window: 31d, algorithm: sliding_window}]}}\n",
		"schema: 1\nmodels:\n  - {match: \"a*b*c*\", category: llm}\nexceptions:\n  - {match: \"*\", category: llm, limits: {\"1\": []}}\n",
		"schema: 1\npartition: deny\nreplication: {mode: sync}\n",
		"a:\n" + strings.Repeat(" ", 200) + "- b", strings.Repeat("[", 5000), strings.Repeat("{a: ", 500),
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		one, err := ledger.Compile(7, bytes.Clone(doc))
		two, err2 := ledger.Compile(7, bytes.Clone(doc))
		switch {
		case (err == nil) != (err2 == nil):
			t.Fatalf("%v, then %v", err, err2)
		case err != nil:
			if err.Error() != err2.Error() {
				t.Fatalf("%v, then %v", err, err2)
			}
		case one.Revision != 7 || !bytes.Equal(one.Doc, two.Doc):
			t.Fatalf("revision %d, %q and %q", one.Revision, one.Doc, two.Doc)
		default:
			if three, err := ledger.Compile(8, one.Doc); err != nil || !bytes.Equal(three.Doc, one.Doc) {
				t.Fatalf("what was compiled is refused: %v", err)
			}
		}
	})
}
