package e2e

import (
	"fmt"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

const (
	hourly = 200 // of a sliding window that lets go of nothing within a test
	taken  = 120 // of it
)

// TestSlidingWindowsAndReservationsOutliveTheirOwner stops a node in order, which
// may forget nothing, and then kills one, which may forget the slack.
func TestSlidingWindowsAndReservationsOutliveTheirOwner(t *testing.T) {
	c := testcluster.Start(t, 3)
	reserved := map[string]string{} // by account
	limits := fmt.Sprintf(`{"overrides":[{"category":"llm","limits":[
		{"unit":"requests","limit":%d,"window":"1h","algorithm":"sliding_window"},
		{"unit":"tokens","limit":10000,"window":"31d"}]}]}`, hourly)
	for i := 0; len(reserved) < 30; i++ {
		if i == 300 {
			t.Fatal("owners without a processor: nearly nobody was asked in time")
		}
		account := newAccount(t)
		c.Nodes[0].Purchase(t, account, "k", "5")
		r := c.Nodes[0].MustDo(t, "PATCH", "/v1/accounts/"+account, limits)
		if r.Status != 200 {
			t.Fatal(r)
		}
		asked := time.Now()
		r = c.Nodes[i%3].MustDo(t, "POST", "/v1/check",
			fmt.Sprintf(`{"account":%q,"category":"llm","requests":%d,"tokens":4000,"reserve":true}`, account, taken), testcluster.MinIndex(r.Index()))
		if time.Since(asked) >= hop {
			continue // another may have decided, or the owner twice
		}
		var d struct{ Reservation string }
		if err := r.JSON(&d); err != nil || r.Status != 200 || d.Reservation == "" {
			t.Fatalf("no reservation: %s, %v", r, err)
		}
		reserved[account] = d.Reservation
	}

	owner := c.Nodes[0].Check(t, testcluster.Check{Account: anyOf(reserved), Category: "llm", DryRun: true}).DecidedBy
	gone := indexOf(t, c, owner)
	if code := c.Stop(gone); code != 0 {
		t.Fatalf("%s: exit code %d", owner, code)
	}
	other := c.Nodes[(gone+1)%3]
	for account, id := range reserved {
		r := other.MustDo(t, "POST", "/v1/settle", fmt.Sprintf(`{"account":%q,"reservation":%q,"tokens":1000,"amount":"0.01"}`, account, id))
		var s struct{ Settled bool }
		if err := r.JSON(&s); err != nil || r.Status != 200 || !s.Settled {
			t.Errorf("%s: a reservation was lost in order: %s, %v", account, r, err)
		}
		d := other.Check(t, testcluster.Check{Account: account, Category: "llm", DryRun: true})
		if len(d.Limits) != 2 || d.Limits[0].Remaining != hourly-taken {
			t.Errorf("%s: %s: want %d requests left of a sliding window", account, d.Reply, hourly-taken)
		}
		if d.Limits[1].Remaining < 9000 || d.Limits[1].Remaining > 9001 {
			t.Errorf("%s: %s: want 9000 tokens left when 1000 were settled", account, d.Reply)
		}
		if d.Degraded {
			t.Errorf("%s is decided by %s in its owner's place, with nobody killed", account, d.DecidedBy)
		}
	}
	c.Restart(gone)
	c.WaitReady()

	// Most of what the killed node owned it had taken over.
	killed := (gone + 2) % 3
	asks := c.Nodes[(killed+1)%3]
	c.Kill(killed)
	c.WaitReady()
	most, withheld := int64(0), 0
	for account := range reserved {
		admitted := int64(taken)
		for range hourly {
			d := asks.Check(t, testcluster.Check{Account: account, Category: "llm"})
			if d.Degraded {
				t.Fatalf("%s is decided in its owner's place when all are owned: %s", account, d.Reply)
			}
			if d.Allowed {
				admitted++
			}
		}
		if admitted < hourly {
			withheld++
		}
		if most = max(most, admitted); admitted > hourly+hourly/20 {
			t.Errorf("%s: %d admitted in an hour of %d after a kill, want the slack above it at most", account, admitted, hourly)
		}
	}
	t.Logf("after the kill the most admitted of %d is %d; %d of %d accounts got less", hourly, most, withheld, len(reserved))
}

func anyOf(m map[string]string) string {
	for k := range m {
		return k
	}
	return ""
}

func indexOf(t *testing.T, c *testcluster.Cluster, id string) int {
	t.Helper()
	for i, n := range c.Nodes {
		if n.ID == id {
			return i
		}
	}
	t.Fatalf("no node %q", id)
	return -1
}
