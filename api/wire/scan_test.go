package wire

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// read reads one whole document of any kind.
func read(doc []byte) error {
	var s Scanner
	s.Reset(doc)
	s.Skip()
	s.End()
	return s.Err()
}

var documents = []string{
	`{}`, `[]`, ` [ ] `, `""`, `null`, `true`, `false`, `0`, `-0`, `-1.5e+3`, `1E9`, `{"a":[1,{"b":null}]}`,
	"\t{\r\n\"a\" : 1 , \"b\":2}\n", `"\u0041\n\t\"\\\/\b\f\r"`, `"\ud83d\ude00"`, `"é😀"`,
	``, ` `, `{`, `[`, `}`, `]`, `{]`, `[}`, `[1,]`, `[,1]`, `[1 2]`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a" 1}`, `{a:1}`,
	`{1:1}`, `{"a":1}}`, `{} {}`, `nul`, `nulll`, `tru`, `True`, `01`, `-`, `+1`, `.5`, `1.`, `1e`, `1e+`, `0x1`, `NaN`, `Infinity`,
	`"`, `"a`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"\x01\"", "\"\n\"", "\"\x7f\"", `'a'`, `// a`, "\ufeff{}", "{}\x00", "\v1",
}

func TestScannerAcceptsWhatJSONIs(t *testing.T) {
	for _, doc := range documents {
		if got, want := read([]byte(doc)) == nil, json.Valid([]byte(doc)); got != want {
			t.Errorf("%q: accepted %v, want %v", doc, got, want)
		}
	}
}

func TestScannerRefusesMoreThanJSON(t *testing.T) {
	for name, doc := range map[string]string{
		"bytes that are no UTF-8":       "\"\xff\"",
		"overlong UTF-8":                "\"\xc0\x80\"",
		"the same after an escape":      "\"\\n\xff\"",
		"half of a pair":                `"\ud83d"`,
		"the other half":                `"\ude00"`,
		"half of a pair and no second":  `"\ud83d\n"`,
		"half of a pair and a letter":   `"\ud83d\u0041"`,
		"deeper than the bound":         strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
		"much deeper, and never closed": strings.Repeat(`{"a":`, 100_000),
	} {
		if read([]byte(doc)) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := read([]byte(strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth))); err != nil {
		t.Errorf("as deep as the bound: %v", err)
	}
}

func TestScannerReadsText(t *testing.T) {
	for doc, want := range map[string]string{
		`""`:                             "",
		`"plain"`:                        "plain",
		`"a\u0062c"`:                     "abc",
		`"\"\\\/\b\f\n\r\t"`:             "\"\\/\b\f\n\r\t",
		`"\uD83D\uDE00 \u00e9 é \u0000"`: "😀 é é \x00",
	} {
		var s Scanner
		s.Reset([]byte(doc))
		if got := s.Text(); got != want || s.Err() != nil {
			t.Errorf("%s: %q, %v, want %q", doc, got, s.Err(), want)
		}
	}
}

func TestScannerKeepsTextsApart(t *testing.T) {
	var s Scanner
	s.Reset([]byte(`["\u0061",` + `"` + strings.Repeat(`\u0062`, 1000) + `","\u0063"]`))
	var got []string
	for s.Array(); s.Item(); {
		got = append(got, s.Text())
	}
	if s.Err() != nil || len(got) != 3 || got[0] != "a" || got[1] != strings.Repeat("b", 1000) || got[2] != "c" {
		t.Errorf("%q, %v", got, s.Err())
	}
}

func FuzzScanner(f *testing.F) {
	for _, doc := range documents {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		err := read(doc)
		valid := json.Valid(doc)
		if err == nil && !valid {
			t.Fatalf("accepted %q, which is no JSON", doc)
		}
		if err == nil || !valid {
			return
		}
		// A valid document may be refused only for the documented reasons.
		deep := strings.Count(string(doc), "[")+strings.Count(string(doc), "{") > maxDepth
		surrogate := strings.Contains(strings.ToLower(string(doc)), `\ud`)
		if !deep && !surrogate && utf8.Valid(doc) {
			t.Fatalf("refused %q: %v", doc, err)
		}
	})
}
