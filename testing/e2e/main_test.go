// Package e2e asks real processes, over HTTP and the command line only, for
// what the contract promises. What changes nothing in the cluster shares one;
// what kills nodes has its own.
package e2e

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"quorate/testing/testcluster"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m)) }

// TestCluster is one cluster of three nodes and all that does not harm it.
func TestCluster(t *testing.T) {
	c := testcluster.Start(t, 3)
	before := c.Nodes[0].Status(t)
	for _, sub := range []struct {
		name string
		test func(*testing.T, *testcluster.Cluster)
	}{
		{"Visibility", testVisibility}, // first, while nothing else burdens the machine
		{"Tiers", testTiers},
		{"Burst", testBurst},
		{"LateSettlement", testLateSettlement},
		{"OtherRequests", testOtherRequests},
		{"Models", testModels},
		{"Spend", testSpend},
		{"FreeCredits", testFreeCredits},
		{"Promotion", testPromotion},
		{"MinIndex", testMinIndex},
		{"Replay", testReplay},
		{"Bulk", testBulk},
		{"Entries", testEntries},
		{"Plan", testPlan},
		{"Denials", testDenials},
		{"Blocked", testBlocked},
		{"Surface", testSurface},
		{"DefaultPolicy", testDefaultPolicy},
		{"BadPolicies", testBadPolicies},
		{"PolicyChanges", testPolicyChanges},
		{"Verbs", testVerbs},
		{"BadInput", testBadInput},
		{"Garbage", testGarbage},
	} {
		t.Run(sub.name, func(t *testing.T) { sub.test(t, c) })
	}
	// All of that leaves the same processes, leader and owners.
	after := c.Nodes[0].Status(t)
	if after.Epoch != before.Epoch || after.Term != before.Term {
		t.Errorf("epoch %d, term %d became %d, %d on an idle cluster", before.Epoch, before.Term, after.Epoch, after.Term)
	}
	for _, n := range c.Nodes {
		if !n.Running() {
			t.Errorf("%s died", n.ID)
		}
	}
}

var accounts atomic.Int64

// newAccount returns an account that no test has used.
func newAccount(t testing.TB) string {
	name := strings.ToLower(t.Name())
	if at := strings.LastIndexByte(name, '/'); at >= 0 {
		name = name[at+1:]
	}
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
	return fmt.Sprintf("e2e-%.80s-%d", clean, accounts.Add(1))
}

// buy gives a new account a lifetime spend, through any node, and waits until
// every node knows of it.
func buy(t testing.TB, c *testcluster.Cluster, amount string) string {
	t.Helper()
	account := newAccount(t)
	node := c.Nodes[accounts.Load()%int64(len(c.Nodes))]
	c.WaitApplied(t, node.Purchase(t, account, "first", amount).Reply.Index())
	return account
}

func ptr[T any](v T) *T { return &v }
