package rest

import (
	"encoding/json"
	"strings"
	"testing"

	"quorate/api/wire"
	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// raised returns a server whose state has the newest version of commands in force.
func raised(t *testing.T) (*Server, *node) {
	t.Helper()
	s, n := newServer(t)
	n.state.Apply(1, &ledger.Command{Time: 1, Ops: []ledger.Op{{Kind: ledger.OpVersion, Version: ledger.NewestVersion()}}})
	return s, n
}

// TestMoneyThatGoesBackwards records what a bank took back and usage that was wrong.
func TestMoneyThatGoesBackwards(t *testing.T) {
	for _, tt := range []struct {
		name    string
		entries []string
		// afterwards
		lifetime, bill, free, purchased string
		tier                            int
	}{
		{"a chargeback of money that was spent", []string{
			`{"key":"pay1","type":"purchase","amount":"1000.00"}`,
			`{"key":"u1","type":"usage","amount":"1000.00"}`,
			`{"key":"dp_1","type":"chargeback","amount":"1000.00"}`,
		}, "0.00", "1000.00", "0.00", "0.00", 0},
		{"a chargeback of money of which some is left", []string{
			`{"key":"pay1","type":"purchase","amount":"1000.00"}`,
			`{"key":"u1","type":"usage","amount":"50.00"}`,
			`{"key":"dp_1","type":"chargeback","amount":"1000.00"}`,
		}, "0.00", "50.00", "0.00", "0.00", 0},
		{"a payment that bounced", []string{
			`{"key":"u1","type":"usage","amount":"70.00"}`,
			`{"key":"pay1","type":"payment","amount":"70.00"}`,
			`{"key":"pay1-returned","type":"chargeback","amount":"70.00"}`,
		}, "0.00", "70.00", "0.00", "0.00", 0},
		{"usage that was wrong", []string{
			`{"key":"pay1","type":"purchase","amount":"5.00"}`,
			`{"key":"u1","type":"usage","amount":"105.00"}`,
			`{"key":"u1-wrong","type":"usage_reversal","amount":"100.00"}`,
		}, "5.00", "0.00", "0.00", "0.00", 1},
		{"usage that was wrong and paid", []string{
			`{"key":"pay1","type":"purchase","amount":"5.00"}`,
			`{"key":"u1","type":"usage","amount":"5.00"}`,
			`{"key":"u1-wrong","type":"usage_reversal","amount":"3.00"}`,
		}, "5.00", "0.00", "3.00", "0.00", 1},
		{"nano-dollars", []string{
			`{"key":"pay1","type":"purchase","amount":"5.000000003"}`,
			`{"key":"u1","type":"usage","amount":"0.00000105"}`,
		}, "5.000000003", "0.00", "0.00", "4.999998953", 1},
	} {
		s, n := raised(t)
		var got wire.EntryResponse
		for _, body := range append(tt.entries, tt.entries[len(tt.entries)-1]) { // the last one again, which changes nothing
			a := ask(s, "POST", "/v1/accounts/acme/ledger", body)
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
				t.Fatalf("%s: %s: %d %s", tt.name, body, a.status, a.body)
			}
		}
		acc := got.Account
		if acc.LifetimeSpend != tt.lifetime || acc.OpenBill != tt.bill || acc.Credits != (wire.Credits{Free: tt.free, Purchased: tt.purchased}) || acc.Tier != tt.tier || !got.Replayed {
			t.Errorf("%s: replayed %t, %+v", tt.name, got.Replayed, acc)
		}
		if n.Account("acme").Purchased < 0 {
			t.Errorf("%s: below nothing", tt.name)
		}
	}
}

// TestSettleOfLessThanAMicroDollar settles 7 tokens at $0.15 per million.
func TestSettleOfLessThanAMicroDollar(t *testing.T) {
	s, n := raised(t)
	n.settled = bucket.SettledNow
	secret := ledger.Secret{1}
	if _, _, err := n.Propose(t.Context(), []ledger.Op{{Kind: ledger.OpSecret, Secret: secret}}); err != nil {
		t.Fatal(err)
	}
	id := ledger.NewReservation(&secret, "mi", 1, [ledger.NonceLen]byte{1})
	a := ask(s, "POST", "/v1/settle", `{"account":"mi","reservation":"`+id+`","tokens":7,"amount":"0.00000105"}`)
	if a.status != 200 || n.Account("mi").OpenBill != 1050 || n.settlement.Amount != 1050 {
		t.Errorf("%d %s: %+v, %+v", a.status, a.body, n.Account("mi"), n.settlement)
	}
	if got := ask(s, "GET", "/v1/accounts/mi", "").body; !json.Valid([]byte(got)) || !strings.Contains(got, `"open_bill":"0.00000105"`) {
		t.Error(got)
	}
}

// TestNewMoneyWaitsForTheUpgrade refuses what a node of the version before cannot read.
func TestNewMoneyWaitsForTheUpgrade(t *testing.T) {
	s, n := newServer(t)
	for _, body := range []string{
		`{"key":"k","type":"chargeback","amount":"1"}`, `{"key":"k","type":"usage_reversal","amount":"1"}`, `{"key":"k","type":"usage","amount":"0.00000105"}`,
	} {
		a := ask(s, "POST", "/v1/accounts/acme/ledger", body)
		if code, _ := a.code(t); a.status != 409 || code != "upgrade_unfinished" || n.Account("acme") != nil {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	a := ask(s, "PATCH", "/v1/accounts/acme", `{"usage_limit":"0.000000001"}`)
	if code, _ := a.code(t); a.status != 409 || code != "upgrade_unfinished" || n.Account("acme") != nil {
		t.Errorf("%d %s", a.status, a.body)
	}
}
