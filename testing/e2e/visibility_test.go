package e2e

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// testMinIndex: with X-Quorate-Min-Index a purchase is in force everywhere at
// once, in checks and in reads.
func testMinIndex(t *testing.T, c *testcluster.Cluster) {
	for i := range 60 {
		account := newAccount(t)
		index := c.Nodes[i%3].Purchase(t, account, "k", "5").Reply.Index()
		if index == 0 {
			t.Fatal("a purchase has no X-Quorate-Index")
		}
		for j := range c.Nodes {
			node := c.Nodes[(i+j)%3]
			if d := node.Check(t, testcluster.Check{Account: account, Category: "llm"}, testcluster.MinIndex(index)); !d.Allowed {
				t.Errorf("bought at %s, index %d, checked at %s: %s", c.Nodes[i%3].ID, index, node.ID, d.Reply)
			} else if d.Reply.Index() < index {
				t.Errorf("a check that waited for %d names %d", index, d.Reply.Index())
			}
			if a := node.Account(t, account, testcluster.MinIndex(index)); a.Tier != 1 {
				t.Errorf("bought at %s, read at %s: %+v", c.Nodes[i%3].ID, node.ID, a)
			}
		}
	}
	testFarIndex(t, c)
}

// testFarIndex waits for an index that will not come.
func testFarIndex(t *testing.T, c *testcluster.Cluster) {
	far := c.Nodes[0].MustDo(t, "GET", "/v1/cluster", nil).Index() + 1_000_000
	var wg sync.WaitGroup
	for _, ask := range []struct {
		method, path string
		body         any
	}{
		{"POST", "/v1/check", testcluster.Check{Account: "acme", Category: "llm"}},
		{"GET", "/v1/policy", nil},
		{"POST", "/v1/accounts/acme/ledger", testcluster.Entry{Key: "far", Type: "purchase", Amount: "5"}},
	} {
		wg.Go(func() {
			start := time.Now()
			r, err := c.Nodes[1].Do(t.Context(), ask.method, ask.path, ask.body, testcluster.MinIndex(far))
			if err != nil {
				t.Error(err)
				return
			}
			wantProblem(t, ask.path+" of the far future", r, 503, "behind", "")
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("%s of the far future took %s, want about 2 s", ask.path, took)
			}
		})
	}
	wg.Wait()
	wantProblem(t, "the account of a write that waited in vain", c.Nodes[1].MustDo(t, "GET", "/v1/accounts/acme", nil), 404, "unknown_account", "")
}

// testVisibility measures how soon a purchase counts at the other nodes of
// those who do not say what they wait for. The figure is for the log: a shared
// machine keeps no promise.
func testVisibility(t *testing.T, c *testcluster.Cluster) {
	var took []time.Duration
	for i := range 100 {
		account := newAccount(t)
		check := testcluster.Check{Account: account, Category: "llm", DryRun: true}
		buyer := c.Nodes[i%3]
		index := buyer.Purchase(t, account, "k", "5").Reply.Index()
		acknowledged := time.Now()
		var wg sync.WaitGroup
		for j := range c.Nodes {
			node := c.Nodes[j]
			if node == buyer {
				continue
			}
			wg.Go(func() {
				for {
					d, err := node.Decide(t.Context(), check)
					if err != nil {
						t.Error(err)
						return
					}
					r, err := node.Do(t.Context(), "GET", "/v1/accounts/"+account, nil)
					if err != nil {
						t.Error(err)
						return
					}
					if d.Allowed && r.Status == 200 {
						return
					}
					if time.Since(acknowledged) > 5*time.Second {
						t.Errorf("a purchase at index %d is not in force at %s after 5 s: %s", index, node.ID, d.Reply)
						return
					}
				}
			})
		}
		wg.Wait()
		took = append(took, time.Since(acknowledged))
	}
	slices.Sort(took)
	at := func(p float64) string {
		return fmt.Sprintf("%.1f ms", took[int(p*float64(len(took)-1))].Seconds()*1000)
	}
	t.Logf("from a purchase's answer to its being in force at both other nodes: p50 %s, p90 %s, p99 %s, max %s",
		at(0.5), at(0.9), at(0.99), at(1))
}
