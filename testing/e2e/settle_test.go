package e2e

import (
	"fmt"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// testLateSettlement: a settlement after the estimate has come back gives nothing back of
// what others have taken since.
func testLateSettlement(t *testing.T, c *testcluster.Cluster) {
	const limit, rate = 1000, 500.0 // tokens, and tokens a second
	account := newAccount(t)
	n := c.Nodes[0]
	n.Purchase(t, account, "k", "5")
	r := n.MustDo(t, "PATCH", "/v1/accounts/"+account, fmt.Sprintf(`{"overrides":[{"category":"llm","limits":[{"unit":"tokens","limit":%d,"window":"2s"}]}]}`, limit))
	if r.Status != 200 {
		t.Fatal(r)
	}
	c.WaitApplied(t, r.Index())
	for what, body := range map[string]string{"settle": `,"tokens":100,"amount":"0.01"`, "release": ""} {
		untilEmpty(t, n, account, limit)
		asked := time.Now()
		r = n.MustDo(t, "POST", "/v1/check", fmt.Sprintf(`{"account":%q,"category":"llm","requests":0,"tokens":900,"reserve":true}`, account))
		var d struct{ Reservation string }
		if err := r.JSON(&d); err != nil || d.Reservation == "" {
			t.Fatalf("no reservation: %s, %v", r, err)
		}
		untilEmpty(t, n, account, limit)
		if time.Since(asked) < 1800*time.Millisecond {
			t.Fatalf("900 tokens have come back in %s", time.Since(asked))
		}
		asked = time.Now()
		if got := n.MustDo(t, "POST", "/v1/check", fmt.Sprintf(`{"account":%q,"category":"llm","requests":0,"tokens":800}`, account)); got.Status != 200 {
			t.Fatal(got)
		}
		if got := n.MustDo(t, "POST", "/v1/"+what, fmt.Sprintf(`{"account":%q,"reservation":%q%s}`, account, d.Reservation, body)); got.Status != 200 {
			t.Fatal(got)
		}
		left := tokensLeft(t, n, account)
		if most := limit - 800 + rate*time.Since(asked).Seconds(); float64(left) > most {
			t.Errorf("%s: %d tokens left, want at most %.0f: the reservation's had come back", what, left, most)
		}
	}
}

// untilEmpty waits until a bucket owes nothing.
func untilEmpty(t *testing.T, n *testcluster.Node, account string, limit int64) {
	t.Helper()
	testcluster.Eventually(t, 5*time.Second, "an empty bucket", func() error {
		if left := tokensLeft(t, n, account); left != limit {
			return fmt.Errorf("%d of %d left", left, limit)
		}
		return nil
	})
}

func tokensLeft(t *testing.T, n *testcluster.Node, account string) int64 {
	t.Helper()
	d := n.Check(t, testcluster.Check{Account: account, Category: "llm", DryRun: true})
	if len(d.Limits) != 1 {
		t.Fatalf("%s: %s", account, d.Reply)
	}
	return d.Limits[0].Remaining
}
