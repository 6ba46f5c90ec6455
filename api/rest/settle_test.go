package rest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// Every combination of the outcomes of the ledger entry and of the bucket.
func TestSettle(t *testing.T) {
	const plain, paid = `{"account":"acme","reservation":"r-1","tokens":70}`, `{"account":"acme","reservation":"r-1","tokens":70,"amount":"0.0123"}`
	recorded := ledger.Op{Kind: ledger.OpEntry, Account: "acme", Key: "r-1", Type: ledger.Usage, Amount: 12_300_000}
	for _, c := range []struct {
		name    string
		body    string
		before  *ledger.Op // an earlier entry in the ledger
		settled bucket.Settled
		err     error
		status  int
		want    string // the body, or the problem's code
		bill    ledger.Money
	}{
		{"first", paid, nil, bucket.SettledNow, nil, 200, `{"settled":true,"usage_recorded":true,"replayed":false}`, 12_300_000},
		{"without money", plain, nil, bucket.SettledNow, nil, 200, `{"settled":true,"usage_recorded":false,"replayed":false}`, 0},
		{"again", paid, &recorded, bucket.SettledBefore, nil, 200, `{"settled":true,"usage_recorded":true,"replayed":true}`, 12_300_000},
		{"again, the bucket for the first time", paid, &recorded, bucket.SettledNow, nil, 200, `{"settled":true,"usage_recorded":true,"replayed":true}`, 12_300_000},
		{"expired", paid, nil, bucket.SettledUnknown, nil, 200, `{"settled":false,"usage_recorded":true,"replayed":false,"reason":"reservation_unknown"}`, 12_300_000},
		{"expired, again", paid, &recorded, bucket.SettledUnknown, nil, 200, `{"settled":false,"usage_recorded":true,"replayed":true,"reason":"reservation_unknown"}`, 12_300_000},
		{"expired, without money", plain, nil, bucket.SettledUnknown, nil, 404, "reservation_unknown", 0},
		{"other tokens", paid, &recorded, bucket.SettledOtherwise, nil, 409, "reservation_settled", 12_300_000},
		{"other money", `{"account":"acme","reservation":"r-1","tokens":70,"amount":"1"}`, &recorded, bucket.SettledNow, nil, 409, "reservation_settled", 12_300_000},
		{"settled without money before", paid, nil, bucket.SettledOtherwise, nil, 409, "reservation_settled", 12_300_000},
		{"no node answers, usage recorded", paid, nil, bucket.SettledUnknown, errors.New("cut off"), 503, "unavailable", 12_300_000},
		{"after no node answered", paid, &recorded, bucket.SettledNow, nil, 200, `{"settled":true,"usage_recorded":true,"replayed":true}`, 12_300_000},
		{"no node answers", plain, nil, bucket.SettledUnknown, errors.New("cut off"), 503, "unavailable", 0},
	} {
		s, n := newServer(t)
		if c.before != nil {
			n.state.Apply(8, &ledger.Command{Time: 1, Ops: []ledger.Op{*c.before}})
		}
		n.settled, n.settleErr = c.settled, c.err
		a := ask(s, "POST", "/v1/settle", c.body)
		got := a.body
		if a.status != 200 {
			got, _ = a.code(t)
		}
		if a.status != c.status || got != c.want {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
		bill := ledger.Money(0)
		if acc := n.Account("acme"); acc != nil {
			bill = acc.OpenBill
		}
		if bill != c.bill {
			t.Errorf("%s: the bill is %s, want %s", c.name, bill, c.bill)
		}
	}
}

// Usage that was not recorded must not change a bucket.
func TestSettleAsksTheLedgerFirst(t *testing.T) {
	s, n := newServer(t)
	n.err = fmt.Errorf("propose: %w", ledger.ErrNoQuorum)
	a := ask(s, "POST", "/v1/settle", `{"account":"acme","reservation":"r-1","tokens":70,"amount":"1"}`)
	if code, _ := a.code(t); a.status != 503 || code != "no_quorum" || n.settlement.Account != "" {
		t.Errorf("%d %s, settled %+v", a.status, a.body, n.settlement)
	}
}

func TestRelease(t *testing.T) {
	s, n := newServer(t)
	a := ask(s, "POST", "/v1/release", `{"account":"acme","reservation":"r-1"}`)
	if want := (bucket.Settlement{Account: "acme", Reservation: "r-1", Release: true}); a.status != 200 || n.settlement != want {
		t.Errorf("%d %s, settled %+v", a.status, a.body, n.settlement)
	}
	n.settled = bucket.SettledUnknown
	a = ask(s, "POST", "/v1/release", `{"account":"acme","reservation":"r-2"}`)
	if code, field := a.code(t); a.status != 404 || code != "reservation_unknown" || field != "reservation" {
		t.Errorf("unknown: %d %s", a.status, a.body)
	}
}

func TestSettleRefuses(t *testing.T) {
	s, n := newServer(t)
	for body, field := range map[string]string{
		`{"reservation":"r","tokens":1}`:                             "account",
		`{"account":"a b","reservation":"r","tokens":1}`:             "account",
		`{"account":"a","tokens":1}`:                                 "reservation",
		`{"account":"a","reservation":"r"}`:                          "tokens",
		`{"account":"a","reservation":"r","tokens":-1}`:              "tokens",
		`{"account":"a","reservation":"r","tokens":1,"amount":1}`:    "amount",
		`{"account":"a","reservation":"r","tokens":1,"amount":"-1"}`: "amount",
		`{"account":"a","reservation":"r","tokens":1,"key":"k"}`:     "key",
	} {
		a := ask(s, "POST", "/v1/settle", body)
		if code, got := a.code(t); a.status != 400 || code != "invalid_request" || got != field {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	a := ask(s, "POST", "/v1/release", `{"account":"a","reservation":"r","tokens":1}`)
	if _, field := a.code(t); a.status != 400 || field != "tokens" {
		t.Errorf("tokens of a release: %d %s", a.status, a.body)
	}
	if n.settlement.Account != "" {
		t.Error("a refused settlement was asked for")
	}
}

// A caller that may settle cannot bill an account with an id that it made up.
func TestSettleOfAMadeUpReservation(t *testing.T) {
	s, n := newServer(t)
	id := ledger.NewReservation(&ledger.Secret{1}, "acme", 1, [ledger.NonceLen]byte{1})
	if _, _, err := n.Propose(t.Context(), []ledger.Op{{Kind: ledger.OpVersion, Version: 4}, {Kind: ledger.OpSecret, Secret: ledger.Secret{1}}}); err != nil {
		t.Fatal(err)
	}
	n.settled = bucket.SettledNow
	for account, id := range map[string]string{"victim": id, "acme": "invoice-17"} {
		a := ask(s, "POST", "/v1/settle", fmt.Sprintf(`{"account":%q,"reservation":%q,"tokens":1,"amount":"1000000000"}`, account, id))
		if code, _ := a.code(t); a.status != 404 || code != "reservation_unknown" || n.settlement.Account != "" || n.Account(account) != nil {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	body := fmt.Sprintf(`{"account":"acme","reservation":%q,"tokens":1,"amount":"0.01"}`, id)
	for _, want := range []string{`"replayed":false`, `"replayed":true`} {
		if a := ask(s, "POST", "/v1/settle", body); a.status != 200 || !strings.Contains(a.body, want) {
			t.Errorf("%d %s, want %s", a.status, a.body, want)
		}
	}
}
