package e2e

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// tiers is the table of the tier document; every limit is a minute's.
var tiers = []struct {
	level  int
	spend  string
	limits map[string]int64
}{
	{1, "5.00", map[string]int64{"llm": 600, "embeddings": 3000, "rerank": 500_000}},
	{2, "50.00", map[string]int64{"llm": 1800, "embeddings": 5000, "rerank": 1_500_000}},
	{3, "100.00", map[string]int64{"llm": 3000, "embeddings": 5000, "rerank": 2_000_000}},
	{4, "250.00", map[string]int64{"llm": 4500, "embeddings": 10_000, "rerank": 3_000_000}},
	{5, "1000.00", map[string]int64{"llm": 6000, "embeddings": 10_000, "rerank": 5_000_000}},
}

// costing returns a check of a category that costs so much of its limit.
func costing(account, category string, cost int64) testcluster.Check {
	c := testcluster.Check{Account: account, Category: category, Requests: ptr(cost)}
	if category == "rerank" {
		c.Requests, c.Tokens = nil, ptr(cost)
	}
	return c
}

// testTiers bursts against every limit of every tier, over all nodes at once.
func testTiers(t *testing.T, c *testcluster.Cluster) {
	for _, tier := range tiers {
		for category, limit := range tier.limits {
			t.Run(fmt.Sprintf("tier %d %s", tier.level, category), func(t *testing.T) {
				t.Parallel()
				account := buy(t, c, tier.spend)
				exhaust(t, c, costing(account, category, limit/100), limit, tier.level)
			})
		}
	}
}

// testBurst is one limit in single requests, from many clients.
func testBurst(t *testing.T, c *testcluster.Cluster) {
	exhaust(t, c, costing(buy(t, c, "5"), "llm", 1), 600, 1)
}

// hop is how long a node waits for the owner before it asks another node to ask it:
// what the owner has counted by then it counts again.
const hop = 80 * time.Millisecond

// exhaust sends a check over all nodes at once until well after the limit, and
// wants exactly the limit admitted, plus what came back meanwhile, less what an owner
// without a processor may have counted twice; then a denial, and after the wait it
// names one more.
func exhaust(t *testing.T, c *testcluster.Cluster, check testcluster.Check, limit int64, tier int) {
	cost := limit / 100
	if check.Requests != nil {
		cost = *check.Requests
	}
	sends := limit/cost + limit/cost/5 + 10
	var sent, admitted, denied, slow atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for _, node := range c.Nodes {
		for range 2 {
			wg.Go(func() {
				for sent.Add(1) <= sends {
					asked := time.Now()
					d, err := node.Decide(t.Context(), check)
					if time.Since(asked) >= hop {
						slow.Add(1)
					}
					if err != nil {
						t.Error(err)
						return
					}
					switch d.Reply.Status {
					case 200:
						admitted.Add(1)
					case 429:
						denied.Add(1)
					default:
						t.Errorf("%s", d.Reply)
					}
					if d.Tier != tier || d.Node != node.ID || d.Degraded || len(d.Limits) != 1 || d.Limits[0].Limit != limit {
						t.Errorf("asked %s at tier %d of limit %d: %s", node.ID, tier, limit, d.Reply)
					}
				}
			})
		}
	}
	wg.Wait()
	back := float64(limit) * time.Since(start).Minutes()
	units := admitted.Load() * cost
	if denied.Load() == 0 || units < limit-slow.Load()*cost || float64(units) > float64(limit)+back {
		t.Fatalf("admitted %d of limit %d in %d sends (%d denied, %d slow); %.1f came back meanwhile", units, limit, sends, denied.Load(), slow.Load(), back)
	}

	// Empty what came back since, then do what the denial says.
	for i := 0; ; i++ {
		d := c.Nodes[i%len(c.Nodes)].Check(t, check)
		if d.Allowed {
			continue
		}
		next := c.Nodes[(i+1)%len(c.Nodes)]
		afterwards(t, next, check, d)
		return
	}
}

// afterwards waits as long as a denial says and wants the same check to pass.
func afterwards(t *testing.T, node *testcluster.Node, check testcluster.Check, d *testcluster.Decision) {
	t.Helper()
	if d.Reply.Status != 429 || d.Reason != "rate_limited" || d.RetryAfterMS == nil || *d.RetryAfterMS <= 0 {
		t.Fatalf("a denial: %s", d.Reply)
	}
	if d.LimitHit != d.Limits[0].Name || d.Limits[0].Source != "tier" || d.Limits[0].Window != "1m" {
		t.Errorf("limit hit %q of %+v", d.LimitHit, d.Limits)
	}
	h := d.Reply.Header
	wait := *d.RetryAfterMS
	if got, want := h.Get("Retry-After"), fmt.Sprint((wait+999)/1000); got != want {
		t.Errorf("Retry-After %q, want %q", got, want)
	}
	if got, want := h.Get("Retry-After-Ms"), fmt.Sprint(wait); got != want {
		t.Errorf("retry-after-ms %q, want %q", got, want)
	}
	if h.Get("RateLimit") == "" || h.Get("RateLimit-Policy") == "" {
		t.Errorf("headers of a denial: %v", h)
	}
	time.Sleep(time.Duration(wait) * time.Millisecond) // the server's own word, which is what is tested
	if d := node.Check(t, check); !d.Allowed {
		t.Errorf("denied again after the %d ms it asked for: %s", wait, d.Reply)
	}
}

// testPromotion: after 600 of 600 at tier 1, tier 2 leaves about 1200 of 1800.
func testPromotion(t *testing.T, c *testcluster.Cluster) {
	account := buy(t, c, "5")
	start := time.Now()
	if d := c.Nodes[0].Check(t, costing(account, "llm", 600)); !d.Allowed || d.Limits[0].Remaining != 0 {
		t.Fatalf("600 of 600: %s", d.Reply)
	}
	if d := c.Nodes[1].Check(t, costing(account, "llm", 600)); d.Allowed {
		t.Fatalf("600 more: %s", d.Reply)
	}
	index := c.Nodes[1].Purchase(t, account, "promotion", "50").Reply.Index()

	probe := costing(account, "llm", 0)
	probe.DryRun = true
	var first int64
	for i, node := range c.Nodes {
		d := node.Check(t, probe, testcluster.MinIndex(index))
		back := int64(math.Ceil(1800 * time.Since(start).Minutes()))
		left := d.Limits[0].Remaining
		if d.Tier != 2 || d.Limits[0].Limit != 1800 || left < 1200 || left > 1200+back {
			t.Errorf("%s after the promotion: %s; want 1200 and at most %d more", node.ID, d.Reply, back)
		}
		if i == 0 {
			first = left
		}
		if left < first {
			t.Errorf("a dry run took %d", first-left)
		}
	}
	if d := c.Nodes[2].Check(t, costing(account, "llm", 1200)); !d.Allowed {
		t.Errorf("the 1200 that are left: %s", d.Reply)
	}
	if d := c.Nodes[0].Check(t, costing(account, "llm", 600)); d.Allowed {
		t.Errorf("600 more than there are: %s", d.Reply)
	}
}

// testOtherRequests: what an account has used does not depend on what else
// comes over the connection that used it.
func testOtherRequests(t *testing.T, c *testcluster.Cluster) {
	var accounts []string
	for range 30 { // enough that each node owns some
		accounts = append(accounts, buy(t, c, "5"))
	}
	for _, node := range c.Nodes {
		// No two requests alike, so that whatever is kept of one is overwritten
		// by the next.
		for i, account := range accounts {
			body := fmt.Sprintf(`{%*s"account":"%s","category":"embeddings","requests":1000}`, i*7%31, "", account)
			if r := node.MustDo(t, "POST", "/v1/check", body); r.Status != 200 {
				t.Errorf("%s at %s: %s", account, node.ID, r)
			}
		}
	}
	for i, account := range accounts {
		node := c.Nodes[i%len(c.Nodes)]
		if d := node.Check(t, costing(account, "embeddings", 1500)); d.Allowed {
			t.Errorf("%s used 3000 of 3000, and 1500 more are allowed: %s", account, d.Reply)
		}
	}
}
