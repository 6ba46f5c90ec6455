package wire

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func parseCheck(doc string) (CheckRequest, error) {
	var s Scanner
	var r CheckRequest
	s.Reset([]byte(doc))
	err := r.Parse(&s)
	return r, err
}

func TestCheckRequestReads(t *testing.T) {
	for doc, want := range map[string]CheckRequest{
		`{"account":"acme","category":"llm"}`: {Account: "acme", Category: "llm", Requests: 1},
		` { "tokens" : 7 , "account":"a:b@c.d_e-f","model":"x/Y-1","requests":0, "dry_run":true,"reserve":false } `: {
			Account: "a:b@c.d_e-f", Model: "x/Y-1", Tokens: 7, DryRun: true,
		},
		`{"account":"a","model":null,"category":"llm","requests":null,"tokens":null,"dry_run":null,"reserve":null}`: {
			Account: "a", Category: "llm", Requests: 1,
		},
		`{"\u0061ccount":"\u0061","model":"m","requests":1000000000,"tokens":1000000000}`: {
			Account: "a", Model: "m", Requests: 1e9, Tokens: 1e9,
		},
		`{"account":"a","model":"m","requests":-0}`: {Account: "a", Model: "m"},
	} {
		if got, err := parseCheck(doc); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", doc, got, err, want)
		}
	}
}

func TestCheckRequestRefuses(t *testing.T) {
	const ok = `"account":"a","model":"m"`
	for doc, field := range map[string]string{
		``:                                   "",
		`null`:                               "",
		`[]`:                                 "",
		`{` + ok + `}x`:                      "",
		`{` + ok + `} {}`:                    "",
		`{` + ok + `,}`:                      "",
		`{}`:                                 "account",
		`{"account":null,"model":"m"}`:       "account",
		`{"account":"","model":"m"}`:         "account",
		`{"account":"-a","model":"m"}`:       "account",
		`{"account":"a/b","model":"m"}`:      "account",
		`{"account":1,"model":"m"}`:          "account",
		`{"account":"a"}`:                    "model",
		`{"account":"a","model":"a b"}`:      "model",
		`{"account":"a","model":"é"}`:        "model",
		`{"account":"a","model":""}`:         "model",
		`{"account":"a","category":""}`:      "category",
		`{"account":"a","category":"a b"}`:   "category",
		`{` + ok + `,"requests":1.0}`:        "requests",
		`{` + ok + `,"requests":1e3}`:        "requests",
		`{` + ok + `,"requests":01}`:         "",
		`{` + ok + `,"requests":"1"}`:        "requests",
		`{` + ok + `,"requests":-1}`:         "requests",
		`{` + ok + `,"requests":1000000001}`: "requests",
		`{` + ok + `,"tokens":1000000001}`:   "tokens",
		`{` + ok + `,"tokens":99999999999999999999999999}`:             "tokens",
		`{` + ok + `,"tokens":true}`:                                   "tokens",
		`{` + ok + `,"dry_run":1}`:                                     "dry_run",
		`{` + ok + `,"dry_run":"true"}`:                                "dry_run",
		`{` + ok + `,"reserve":true,"dry_run":true}`:                   "reserve",
		`{` + ok + `,"reserve":0}`:                                     "reserve",
		`{` + ok + `,"account":"a"}`:                                   "account",
		`{` + ok + `,"model":null}`:                                    "model",
		`{` + ok + `,"Tokens":1}`:                                      "Tokens",
		`{` + ok + `,"x":{"deep":[]}}`:                                 "x",
		`{"account":"\ud800","model":"m"}`:                             "account",
		"{\"account\":\"\xff\",\"model\":\"m\"}":                       "account",
		`{"account":"` + strings.Repeat("a", 129) + `","model":"m"}`:   "account",
		`{"account":"a","model":"` + strings.Repeat("m", 257) + `"}`:   "model",
		`{"account":"a","category":"` + strings.Repeat("c", 65) + `"}`: "category",
		`{"` + strings.Repeat("n", 1000) + `":1}`:                      strings.Repeat("n", 64),
	} {
		_, err := parseCheck(doc)
		var fe *FieldError
		if !errors.As(err, &fe) || fe.Field != field || fe.Detail == "" {
			t.Errorf("%.80s: %v, want a fault of %q", doc, err, field)
		}
	}
}

func TestCheckRequestRoundTrip(t *testing.T) {
	for _, want := range []CheckRequest{
		{Account: "a", Model: "m"},
		{Account: "a", Category: "c", Requests: 3, Tokens: 4, DryRun: true},
	} {
		doc, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseCheck(string(doc)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", doc, got, err)
		}
	}
}

// FuzzCheckRequest checks that encoding/json reads every accepted document alike.
func FuzzCheckRequest(f *testing.F) {
	f.Add([]byte(`{"account":"acme","model":"m","category":"llm","requests":1,"tokens":0,"dry_run":false,"reserve":false}`))
	f.Add([]byte(`{"account":"\u0061","model":null,"category":"llm","requests":-0}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := parseCheck(string(doc))
		if err != nil {
			return
		}
		want := CheckRequest{Requests: 1}
		d := json.NewDecoder(strings.NewReader(string(doc)))
		d.DisallowUnknownFields()
		if err := d.Decode(&want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: read %+v, encoding/json reads %+v, %v", doc, got, want, err)
		}
	})
}
