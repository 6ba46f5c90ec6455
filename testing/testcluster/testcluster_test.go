package testcluster_test

import (
	"os"
	"testing"

	"quorate/testing/testcluster"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m)) }

// TestOneNode takes the smallest cluster through everything the package does.
func TestOneNode(t *testing.T) {
	c := testcluster.Start(t, 1)
	node := c.Nodes[0]
	node.Purchase(t, "acme", "k1", "5.00")
	if d := node.Check(t, testcluster.Check{Account: "acme", Category: "llm"}); !d.Allowed || d.Tier != 1 {
		t.Errorf("decision %s", d.Reply)
	}
	if pid := node.PID(); pid == 0 || c.Leader() != 0 {
		t.Errorf("pid %d, leader %d", pid, c.Leader())
	}

	c.Kill(0)
	if node.Running() || node.PID() != 0 {
		t.Error("it runs after it was killed")
	}
	if _, err := node.Decide(t.Context(), testcluster.Check{Account: "acme", Category: "llm"}); err == nil {
		t.Error("a dead node decided")
	}

	c.Restart(0)
	c.WaitReady()
	if a := node.Account(t, "acme"); a.Tier != 1 || a.LifetimeSpend != "5.00" {
		t.Errorf("after a restart the account is %+v", a)
	}
	if code := c.Stop(0); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
}
