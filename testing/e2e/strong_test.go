package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

	"quorate/testing/testcluster"
)

// The first linearizable read of a term has nothing but the leader's own entries
// before it, and every node answers it with all that was acknowledged.
func TestStrongReads(t *testing.T) {
	c := testcluster.Start(t, 3)
	for i, n := range c.Nodes {
		if r := n.MustDo(t, "GET", "/v1/policy", nil, testcluster.Strong); r.Status != 200 {
			t.Errorf("a fresh cluster, node %d: %s", i+1, r)
		}
	}
	read := func(what, want string) {
		t.Helper()
		for i, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			var a struct {
				LifetimeSpend string `json:"lifetime_spend"`
			}
			r := n.MustDo(t, "GET", "/v1/accounts/acme", nil, testcluster.Strong)
			if err := json.Unmarshal(r.Body, &a); err != nil || r.Status != 200 || a.LifetimeSpend != want {
				t.Errorf("%s, node %d: %s, want %s", what, i+1, r, want)
			}
		}
	}
	for i := range 20 {
		c.Nodes[i%3].Purchase(t, "acme", fmt.Sprint("k", i), "1")
		read("after a purchase elsewhere", fmt.Sprintf("%d.00", i+1))
	}
	c.Kill(c.Leader())
	c.WaitReady()
	read("after an election", "20.00")
}
