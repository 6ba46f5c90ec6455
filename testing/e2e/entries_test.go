package e2e

import (
	"fmt"
	"testing"

	"quorate/testing/testcluster"
)

// balances are what an entry changes, as the account shows it.
type balances struct{ free, purchased, bill, lifetime string }

func balancesOf(a *testcluster.Account) balances {
	return balances{a.Credits.Free, a.Credits.Purchased, a.OpenBill, a.LifetimeSpend}
}

// testEntries: every line of the ledger's table, one entry after the other.
func testEntries(t *testing.T, c *testcluster.Cluster) {
	type step struct {
		typ, amount string
		want        balances
		code        string // of a refusal with status 422, which changes nothing
	}
	for name, steps := range map[string][]step{
		"purchase": {
			{"purchase", "12.345678", balances{"0.00", "12.345678", "0.00", "12.345678"}, ""},
			{"purchase", "0.000001", balances{"0.00", "12.345679", "0.00", "12.345679"}, ""},
		},
		"free credit": {
			{"free_credit", "7", balances{"7.00", "0.00", "0.00", "0.00"}, ""},
		},
		"usage": {
			{"free_credit", "3", balances{"3.00", "0.00", "0.00", "0.00"}, ""},
			{"purchase", "5", balances{"3.00", "5.00", "0.00", "5.00"}, ""},
			{"usage", "1", balances{"2.00", "5.00", "0.00", "5.00"}, ""},
			{"usage", "4.5", balances{"0.00", "2.50", "0.00", "5.00"}, ""},
			{"usage", "2.500001", balances{"0.00", "0.00", "0.000001", "5.00"}, ""},
			{"usage", "9", balances{"0.00", "0.00", "9.000001", "5.00"}, ""},
		},
		"usage through all three at once": {
			{"free_credit", "1", balances{"1.00", "0.00", "0.00", "0.00"}, ""},
			{"purchase", "2", balances{"1.00", "2.00", "0.00", "2.00"}, ""},
			{"usage", "10", balances{"0.00", "0.00", "7.00", "2.00"}, ""},
		},
		"payment": {
			{"usage", "10", balances{"0.00", "0.00", "10.00", "0.00"}, ""},
			{"payment", "4", balances{"0.00", "0.00", "6.00", "4.00"}, ""},
			{"payment", "6", balances{"0.00", "0.00", "0.00", "10.00"}, ""},
			{"payment", "5", balances{"0.00", "5.00", "0.00", "15.00"}, ""},
			{"usage", "6", balances{"0.00", "0.00", "1.00", "15.00"}, ""},
			{"payment", "1.5", balances{"0.00", "0.50", "0.00", "16.50"}, ""},
		},
		"refund": {
			{"refund", "1", balances{}, "insufficient_credits"},
			{"purchase", "10", balances{"0.00", "10.00", "0.00", "10.00"}, ""},
			{"refund", "4", balances{"0.00", "6.00", "0.00", "6.00"}, ""},
			{"refund", "6.000001", balances{"0.00", "6.00", "0.00", "6.00"}, "insufficient_credits"},
			{"usage", "5", balances{"0.00", "1.00", "0.00", "6.00"}, ""},
			{"free_credit", "9", balances{"9.00", "1.00", "0.00", "6.00"}, ""},
			{"refund", "2", balances{"9.00", "1.00", "0.00", "6.00"}, "insufficient_credits"},
			{"refund", "1", balances{"9.00", "0.00", "0.00", "5.00"}, ""},
		},
	} {
		account := newAccount(t)
		for i, s := range steps {
			node := c.Nodes[i%len(c.Nodes)]
			what := fmt.Sprintf("%s, step %d at %s: %s %s", name, i+1, node.ID, s.typ, s.amount)
			e := testcluster.Entry{Key: fmt.Sprint("step ", i), Type: s.typ, Amount: s.amount}
			r := node.MustDo(t, "POST", "/v1/accounts/"+account+"/ledger", e)
			if s.code != "" {
				wantProblem(t, what, r, 422, s.code, "")
				if s.want == (balances{}) {
					continue // it did not create the account
				}
				if got := balancesOf(node.Account(t, account)); got != s.want {
					t.Errorf("%s: the account shows %+v after the refusal, want %+v", what, got, s.want)
				}
				continue
			}
			var got testcluster.Entered
			if err := r.JSON(&got); err != nil || r.Status != 200 || balancesOf(&got.Account) != s.want {
				t.Errorf("%s: %s, %v; want %+v", what, r, err, s.want)
			}
			for _, other := range c.Nodes {
				if got := balancesOf(other.Account(t, account, testcluster.MinIndex(r.Index()))); got != s.want {
					t.Errorf("%s: %s shows %+v, want %+v", what, other.ID, got, s.want)
				}
			}
		}
	}
}
