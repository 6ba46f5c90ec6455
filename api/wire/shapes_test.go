package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"quorate/fsm/ledger"
)

func table(t *testing.T) *ledger.Table {
	t.Helper()
	tab, err := ledger.Compile(1, ledger.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func scanner(doc string) *Scanner {
	s := new(Scanner)
	s.Reset([]byte(doc))
	return s
}

func wantField(t *testing.T, doc string, err error, field string) {
	t.Helper()
	var fe *FieldError
	if !errors.As(err, &fe) || fe.Field != field || fe.Detail == "" {
		t.Errorf("%.80s: %v, want a fault of %q", doc, err, field)
	}
}

func TestEntryReads(t *testing.T) {
	for name, typ := range map[string]ledger.EntryType{
		"purchase": ledger.Purchase, "free_credit": ledger.FreeCredit, "usage": ledger.Usage, "payment": ledger.Payment, "refund": ledger.Refund,
		"chargeback": ledger.Chargeback, "usage_reversal": ledger.UsageReversal,
	} {
		op, err := ParseEntry(scanner(`{"type":"`+name+`","key":"k 1","amount":"5.5"}`), "acme")
		want := ledger.Op{Kind: ledger.OpEntry, Account: "acme", Key: "k 1", Type: typ, Amount: 5_500_000_000}
		if err != nil || op != want {
			t.Errorf("%s: %+v, %v", name, op, err)
		}
	}
	op, err := ParseItem(scanner(`{"account":"acme","type":"usage","key":"k","amount":"0.000000001"}`))
	if want := (ledger.Op{Kind: ledger.OpEntry, Account: "acme", Key: "k", Type: ledger.Usage, Amount: 1}); err != nil || op != want {
		t.Errorf("item: %+v, %v", op, err)
	}
}

func TestEntryRefuses(t *testing.T) {
	entry := func(key, typ, amount string) string {
		return fmt.Sprintf(`{"key":%s,"type":%s,"amount":%s}`, key, typ, amount)
	}
	for doc, field := range map[string]string{
		`{}`:                                                               "key",
		`{"key":"k"}`:                                                      "type",
		`{"key":"k","type":"usage"}`:                                       "amount",
		entry(`null`, `"usage"`, `"1"`):                                    "key",
		entry(`""`, `"usage"`, `"1"`):                                      "key",
		entry(`"é"`, `"usage"`, `"1"`):                                     "key",
		entry(`"k"`, `null`, `"1"`):                                        "type",
		entry(`"k"`, `"Usage"`, `"1"`):                                     "type",
		entry(`"k"`, `"usage"`, `null`):                                    "amount",
		entry(`"k"`, `"usage"`, `1`):                                       "amount",
		entry(`"k"`, `"usage"`, `1.5`):                                     "amount",
		entry(`"k"`, `"usage"`, `"0"`):                                     "amount",
		entry(`"k"`, `"usage"`, `"0.00"`):                                  "amount",
		entry(`"k"`, `"usage"`, `"-1"`):                                    "amount",
		entry(`"k"`, `"usage"`, `"+1"`):                                    "amount",
		entry(`"k"`, `"usage"`, `"01"`):                                    "amount",
		entry(`"k"`, `"usage"`, `"1."`):                                    "amount",
		entry(`"k"`, `"usage"`, `"1e3"`):                                   "amount",
		entry(`"k"`, `"usage"`, `"1.0000000001"`):                          "amount",
		entry(`"k"`, `"usage"`, `"1000000000.01"`):                         "amount",
		`{"key":"k","type":"usage","amount":"1","account":"a"}`:            "account",
		`{"key":"k","type":"usage","amount":"1","issued_at":"2026-01-01"}`: "issued_at",
		`{"key":"k","key":"k","type":"usage","amount":"1"}`:                "key",
		entry(`"`+strings.Repeat("k", 129)+`"`, `"usage"`, `"1"`):          "key",
	} {
		_, err := ParseEntry(scanner(doc), "acme")
		wantField(t, doc, err, field)
	}
	for doc, field := range map[string]string{
		`{"key":"k","type":"usage","amount":"1"}`:                 "account",
		`{"key":"k","type":"usage","amount":"1","account":null}`:  "account",
		`{"key":"k","type":"usage","amount":"1","account":"a b"}`: "account",
		`7`: "",
	} {
		_, err := ParseItem(scanner(doc))
		wantField(t, doc, err, field)
	}
}

func TestBulkReads(t *testing.T) {
	items, err := ParseItems(scanner(`{"entries":[ {"a":[1,"]"]} , 7,null ]}`), "entries")
	if err != nil || fmt.Sprintf("%s", items) != `[{"a":[1,"]"]} 7 null]` {
		t.Errorf("%s, %v", items, err)
	}
	list := func(n int) string { return `{"entries":[` + strings.TrimSuffix(strings.Repeat("{},", n), ",") + `]}` }
	if items, err := ParseItems(scanner(list(MaxBulk)), "entries"); err != nil || len(items) != MaxBulk {
		t.Errorf("%d items, %v", len(items), err)
	}
	for doc, field := range map[string]string{
		list(MaxBulk + 1):               "entries",
		list(0):                         "entries",
		`{}`:                            "entries",
		`{"entries":null}`:              "entries",
		`{"entries":{}}`:                "entries",
		`{"entries":[{}],"entries":[]}`: "entries",
		`{"entries":[{}],"more":1}`:     "more",
		`{"entries":[{]}`:               "",
		`{"entries":[{}]} x`:            "",
	} {
		_, err := ParseItems(scanner(doc), "entries")
		wantField(t, doc, err, field)
	}
}

func TestPatchReads(t *testing.T) {
	p, err := ParsePatch(scanner(`{"plan":"scale","usage_limit":"0.00","suspended":true}`))
	if err != nil || *p.Plan != ledger.Scale || *p.UsageLimit != 0 || !*p.Suspended {
		t.Errorf("%+v, %v", p, err)
	}
	p, err = ParsePatch(scanner(`{"usage_limit":null}`))
	if err != nil || p.Plan != nil || *p.UsageLimit != ledger.NoUsageLimit || p.Suspended != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = ParsePatch(scanner(`{}`)); err != nil || p.Patch != (ledger.Patch{}) || p.Overrides != nil {
		t.Errorf("%+v, %v", p, err)
	}
	for doc, field := range map[string]string{
		`{"plan":"Scale"}`:                        "plan",
		`{"plan":null}`:                           "plan",
		`{"suspended":null}`:                      "suspended",
		`{"suspended":"true"}`:                    "suspended",
		`{"usage_limit":5}`:                       "usage_limit",
		`{"usage_limit":"five"}`:                  "usage_limit",
		`{"usage_limit":null,"usage_limit":null}`: "usage_limit",
		`{"overrides":7}`:                         "overrides",
		`{"tier":5}`:                              "tier",
		`[]`:                                      "",
	} {
		_, err := ParsePatch(scanner(doc))
		wantField(t, doc, err, field)
	}
}

func TestAccountBody(t *testing.T) {
	a := ledger.NewAccount("acme")
	a.Lifetime, a.Purchased = 50*ledger.Dollar, 12_500_000_000
	got := string(AppendAccount(nil, &a, table(t)))
	limit := func(cat, unit, n string) string {
		return `"` + cat + `":[{"name":"` + cat + `-` + unit + `-1m","unit":"` + unit + `","limit":` + n + `,"burst":` + n + `,"window":"1m","source":"tier"}]`
	}
	want := `{"id":"acme","plan":"build","tier":2,"tier_name":"Build Tier 2","next_tier":{"tier":3,"spend_needed":"50.00"},` +
		`"lifetime_spend":"50.00","credits":{"free":"0.00","purchased":"12.50"},"open_bill":"0.00","usage_limit":null,` +
		`"suspended":false,"blocked_by":null,"overrides":[],"limits":{` +
		limit("embeddings", "requests", "5000") + `,` + limit("llm", "requests", "1800") + `,` + limit("rerank", "tokens", "1500000") + `}}`
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestAccountBodyVaries(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*ledger.Account)
		want   []string
	}{
		"new":       {func(*ledger.Account) {}, []string{`"tier":0,"tier_name":"Free"`, `"limits":{}`, `"next_tier":{"tier":1,"spend_needed":"5.00"}`}},
		"highest":   {func(a *ledger.Account) { a.Lifetime = 1000 * ledger.Dollar }, []string{`"tier":5`, `"next_tier":null`}},
		"suspended": {func(a *ledger.Account) { a.Suspended, a.UsageLimit = true, 0 }, []string{`"suspended":true,"blocked_by":"suspended"`, `"usage_limit":"0.00"`}},
		"blocked":   {func(a *ledger.Account) { a.UsageLimit = 0 }, []string{`"suspended":false,"blocked_by":"usage_limit"`}},
		"plan":      {func(a *ledger.Account) { a.Plan = ledger.Enterprise }, []string{`"plan":"enterprise"`, `"limit":6000`}},
	} {
		a := ledger.NewAccount("acme")
		c.change(&a)
		got := string(AppendAccount(nil, &a, table(t)))
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s lacks %s", name, got, want)
			}
		}
		if err := json.Unmarshal([]byte(got), new(AccountResponse)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProblemBody(t *testing.T) {
	p := Problem{Status: 400, Code: InvalidRequest, Detail: "no \"\x00\xff\n", Field: "tokens"}
	want := `{"type":"about:blank","title":"Bad Request","status":400,"detail":"no \"\u0000` + "\ufffd" + `\n","code":"invalid_request","field":"tokens"}`
	if got := string(p.Append(nil)); got != want || !json.Valid([]byte(got)) {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	p.Field = ""
	if got := string(p.Append(nil)); strings.Contains(got, "field") {
		t.Error(got)
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\n\x7f\xffé😀")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(AppendString(nil, s), &got); err != nil || got != string([]rune(s)) {
			t.Fatalf("%q: %q, %v", s, got, err)
		}
	})
}
