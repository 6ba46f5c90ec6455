package ledger_test

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"quorate/fsm/ledger"
)

// usd parses an amount in dollars, which must be valid.
func usd(s string) ledger.Money {
	m, err := ledger.ParseMoney(s)
	if err != nil {
		panic(err)
	}
	return m
}

func TestCharge(t *testing.T) {
	type money struct{ free, purchased, bill, lifetime string }
	none := money{"0", "0", "0", "0"}
	tests := []struct {
		name   string
		before money
		typ    ledger.EntryType
		amount string
		after  money
		err    error
	}{
		{"purchase", none, ledger.Purchase, "5", money{"0", "5", "0", "5"}, nil},
		{"purchase leaves the bill alone", money{"1", "0", "7", "3"}, ledger.Purchase, "5", money{"1", "5", "7", "8"}, nil},
		{"free credit is no spend", none, ledger.FreeCredit, "1000", money{"1000", "0", "0", "0"}, nil},
		{"usage takes free credits first", money{"3", "5", "0", "5"}, ledger.Usage, "2", money{"1", "5", "0", "5"}, nil},
		{"then purchased ones", money{"3", "5", "0", "5"}, ledger.Usage, "4", money{"0", "4", "0", "5"}, nil},
		{"then the bill", money{"3", "5", "1", "5"}, ledger.Usage, "10", money{"0", "0", "3", "5"}, nil},
		{"usage to the cent", money{"0.01", "0.02", "0", "5"}, ledger.Usage, "0.03", money{"0", "0", "0", "5"}, nil},
		{"usage without credits", none, ledger.Usage, "0.000001", money{"0", "0", "0.000001", "0"}, nil},
		{"payment of part of the bill", money{"0", "0", "10", "5"}, ledger.Payment, "4", money{"0", "0", "6", "9"}, nil},
		{"payment of the bill", money{"0", "0", "10", "5"}, ledger.Payment, "10", money{"0", "0", "0", "15"}, nil},
		{"payment of more than the bill", money{"1", "2", "10", "5"}, ledger.Payment, "14", money{"1", "6", "0", "19"}, nil},
		{"payment without a bill", none, ledger.Payment, "5", money{"0", "5", "0", "5"}, nil},
		{"refund", money{"1", "5", "2", "8"}, ledger.Refund, "3", money{"1", "2", "2", "5"}, nil},
		{"refund of all", money{"0", "5", "0", "5"}, ledger.Refund, "5", none, nil},
		{"refund never makes the spend negative", money{"0", "9", "0", "5"}, ledger.Refund, "9", none, nil},
		{"refund of more than there is", money{"100", "5", "0", "50"}, ledger.Refund, "5.000000001", money{}, ledger.ErrInsufficientCredits},
		{"refund of nothing bought", none, ledger.Refund, "1", money{}, ledger.ErrInsufficientCredits},
		{"chargeback of what is left", money{"1", "5", "2", "8"}, ledger.Chargeback, "3", money{"1", "2", "2", "5"}, nil},
		{"chargeback of what was spent", money{"0", "0", "0", "1000"}, ledger.Chargeback, "1000", money{"0", "0", "1000", "0"}, nil},
		{"chargeback of more than is left", money{"3", "950", "7", "1000"}, ledger.Chargeback, "1000", money{"3", "0", "57", "0"}, nil},
		{"chargeback of a payment that bounced", money{"0", "0", "0", "15"}, ledger.Chargeback, "10", money{"0", "0", "10", "5"}, nil},
		{"chargeback never makes the spend negative", money{"9", "0", "0", "5"}, ledger.Chargeback, "6", money{"9", "0", "6", "0"}, nil},
		{"reversal of usage on the bill", money{"0", "0", "100", "5"}, ledger.UsageReversal, "100", money{"0", "0", "0", "5"}, nil},
		{"reversal of part of the bill", money{"1", "2", "100", "5"}, ledger.UsageReversal, "40", money{"1", "2", "60", "5"}, nil},
		{"reversal of more than the bill", money{"1", "2", "100", "5"}, ledger.UsageReversal, "100.000000001", money{"1.000000001", "2", "0", "5"}, nil},
		{"reversal without a bill", none, ledger.UsageReversal, "7", money{"7", "0", "0", "0"}, nil},
		{"usage of a nano-dollar", money{"0.000000003", "0", "0", "0"}, ledger.Usage, "0.000000005", money{"0", "0", "0.000000002", "0"}, nil},
		{"the largest amount", none, ledger.Purchase, "1000000000", money{"0", "1000000000", "0", "1000000000"}, nil},
		{"nothing", none, ledger.Purchase, "0", money{}, ledger.ErrOverflow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			account := func(m money) ledger.Account {
				a := ledger.NewAccount("acme")
				a.Free, a.Purchased, a.OpenBill, a.Lifetime = usd(m.free), usd(m.purchased), usd(m.bill), usd(m.lifetime)
				return a
			}
			want := account(tt.before)
			if tt.err == nil {
				want = account(tt.after)
			}
			got, err := ledger.Charge(account(tt.before), tt.typ, usd(tt.amount))
			if !errors.Is(err, tt.err) || got != want {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, want, tt.err)
			}
		})
	}
}

func TestChargeRefusesWhatOverflows(t *testing.T) {
	full := ledger.NewAccount("acme")
	full.Free, full.Purchased, full.OpenBill, full.Lifetime = math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64
	owing := ledger.NewAccount("acme")
	owing.OpenBill = math.MaxInt64
	tests := []struct {
		name string
		a    ledger.Account
		typ  ledger.EntryType
	}{
		{"purchase", full, ledger.Purchase},
		{"free credit", full, ledger.FreeCredit},
		{"usage on a full bill", owing, ledger.Usage},
		{"payment, by the lifetime spend", full, ledger.Payment},
		{"chargeback on a full bill", owing, ledger.Chargeback},
		{"reversal, by the free credits", ledger.Account{ID: "acme", Free: math.MaxInt64}, ledger.UsageReversal},
	}
	for _, tt := range tests {
		if got, err := ledger.Charge(tt.a, tt.typ, 1); !errors.Is(err, ledger.ErrOverflow) || got != tt.a {
			t.Errorf("%s: %+v, %v; want ErrOverflow and nothing changed", tt.name, got, err)
		}
	}
	for _, amount := range []ledger.Money{-1, math.MinInt64, ledger.MaxAmount + 1, math.MaxInt64} {
		if _, err := ledger.Charge(ledger.NewAccount("acme"), ledger.Purchase, amount); !errors.Is(err, ledger.ErrOverflow) {
			t.Errorf("an amount of %d: %v, want ErrOverflow", amount, err)
		}
	}
	if _, err := ledger.Charge(ledger.NewAccount("acme"), ledger.UsageReversal+1, 1); !errors.Is(err, ledger.ErrUnknownCommand) {
		t.Errorf("an entry of no type: %v, want ErrUnknownCommand", err)
	}
}

// TestNoMoneyIsMadeOrLost checks that what came in, less what was taken back, equals the
// balances plus usage, less what was reversed, and that usage beyond it equals the open
// bill. Sums that overflow do so on both sides.
func TestNoMoneyIsMadeOrLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := ledger.NewAccount("acme")
		var in, used, lifetime ledger.Money
		for range rapid.IntRange(0, 30).Draw(t, "entries") {
			typ := ledger.EntryType(rapid.IntRange(0, int(ledger.UsageReversal)).Draw(t, "type"))
			amount := ledger.Money(rapid.Int64Range(1, int64(ledger.MaxAmount)).Draw(t, "amount"))
			b, err := ledger.Charge(a, typ, amount)
			if err != nil {
				if b != a {
					t.Fatalf("refused (%v), and still %+v became %+v", err, a, b)
				}
				continue
			}
			a = b
			switch typ {
			case ledger.Usage:
				used += amount
			case ledger.UsageReversal:
				used -= amount
			case ledger.Refund, ledger.Chargeback:
				in, lifetime = in-amount, max(0, lifetime-amount)
			case ledger.FreeCredit:
				in += amount
			default:
				in, lifetime = in+amount, lifetime+amount
			}
			if a.Lifetime != lifetime {
				t.Fatalf("a lifetime spend of %s, want %s", a.Lifetime, lifetime)
			}
			if a.Free < 0 || a.Purchased < 0 || a.OpenBill < 0 || a.Lifetime < 0 {
				t.Fatalf("below nothing: %+v", a)
			}
			if a.Free+a.Purchased-a.OpenBill != in-used {
				t.Fatalf("%s came in and %s was used: %+v", in, used, a)
			}
		}
	})
}

func TestBlocked(t *testing.T) {
	tests := []struct {
		name                         string
		limit, bill, free, purchased ledger.Money
		want                         bool
	}{
		{"no limit", ledger.NoUsageLimit, usd("1000000"), 0, 0, false},
		{"below", usd("10"), usd("9.999999"), 0, 0, false},
		{"reached", usd("10"), usd("10"), 0, 0, true},
		{"above", usd("10"), usd("11"), 0, 0, true},
		{"reached with free credits", usd("10"), usd("10"), 1, 0, false},
		{"reached with purchased credits", usd("10"), usd("10"), 0, 1, false},
		{"prepaid only, with nothing left", 0, 0, 0, 0, true},
		{"prepaid only, with credits", 0, 0, 0, 1, false},
	}
	for _, tt := range tests {
		a := ledger.Account{UsageLimit: tt.limit, OpenBill: tt.bill, Free: tt.free, Purchased: tt.purchased}
		if got := a.Blocked(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestNamesOfPlansAndTypes(t *testing.T) {
	for p := ledger.Build; p <= ledger.Enterprise; p++ {
		if got, ok := ledger.ParsePlan(p.String()); !ok || got != p {
			t.Errorf("plan %d does not survive its name %q", p, p)
		}
	}
	for e := ledger.Purchase; e <= ledger.UsageReversal; e++ {
		if got, ok := ledger.ParseEntryType(e.String()); !ok || got != e {
			t.Errorf("entry type %d does not survive its name %q", e, e)
		}
	}
	for _, s := range []string{"", "Build", "unknown", "free-credit"} {
		if _, ok := ledger.ParsePlan(s); ok {
			t.Errorf("%q is a plan", s)
		}
		if _, ok := ledger.ParseEntryType(s); ok {
			t.Errorf("%q is an entry type", s)
		}
	}
}
