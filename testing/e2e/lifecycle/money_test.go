package lifecycle

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// programBefore is a program of the version before, to upgrade from; empty: this program
// with the later commands taken away.
var programBefore = os.Getenv("QUORATE_BEFORE")

// TestMoneyThroughAnUpgrade goes from a program that counts micro-dollars to this one,
// back to the old one while the version of commands is held, and forward again. The nodes
// agree at each step, and what only the new program knows is refused until all do.
func TestMoneyThroughAnUpgrade(t *testing.T) {
	program, env := testcluster.FaultBinary(t), []string{testcluster.Inject("commands3")}
	if programBefore != "" {
		program, env = programBefore, nil
	}
	old := func(n *testcluster.Node) { n.Program, n.Env = program, env }
	held := func(n *testcluster.Node) { n.Program, n.Env = "", []string{"QUORATE_HOLD_VERSION=true"} }
	raised := func(n *testcluster.Node) { n.Program, n.Env = "", nil }
	c := testcluster.New(t, 3)
	for i, n := range c.Nodes {
		old(n)
		c.Restart(i)
	}
	c.WaitReady()
	c.PurchaseEach("busy", 200)
	c.Nodes[0].Purchase(t, "acme", "pay1", "1000.000001")
	if r := c.Nodes[0].MustDo(t, "POST", "/v1/accounts/acme/ledger", `{"key":"u1","type":"usage","amount":"1000"}`); r.Status != 200 {
		t.Fatal(r)
	}
	backup := t.TempDir() + "/old.backup"
	c.Nodes[0].MustVerb(t, "backup", backup)

	newMoney := []string{
		`{"key":"dp_1","type":"chargeback","amount":"1000.000001"}`,
		`{"key":"wrong","type":"usage_reversal","amount":"400"}`,
		`{"key":"small","type":"usage","amount":"0.00000105"}`,
	}
	refused := func(what string) {
		t.Helper()
		for i, n := range c.Nodes {
			if n.Program != "" {
				continue // the fault build knows the new types, and an old program does not
			}
			for _, body := range newMoney {
				if r := n.MustDo(t, "POST", "/v1/accounts/acme/ledger", body); r.Status != 409 || !strings.Contains(string(r.Body), "upgrade_unfinished") {
					t.Errorf("%s, node %d, %s: %s", what, i, body, r)
				}
			}
		}
		if a := c.Nodes[0].Account(t, "acme"); a.OpenBill != "0.00" || a.LifetimeSpend != "1000.000001" || a.Credits.Purchased != "0.000001" {
			t.Errorf("%s: %+v", what, a)
		}
	}
	agreed := func(when string) {
		t.Helper()
		for _, n := range c.Nodes {
			if log := n.LogTail(10_000); strings.Contains(log, "the state differs between nodes") {
				t.Errorf("%s: %s has another state:\n%s", when, n.ID, n.LogTail(20))
			}
		}
	}
	turn := func(what string, l *traffic, change func(n *testcluster.Node)) {
		t.Helper()
		at := c.Leader()
		for k := 1; k <= 3; k++ { // the followers first
			restart(t, c, (at+k)%3, change)
			l.untilWritten(t, 20)
			refused(fmt.Sprintf("%s, %d of three", what, k))
			agreed(what)
		}
	}
	l := start(t, c.Nodes)
	turn("upgraded", l, held)
	turn("back to the old program", l, old)
	turn("upgraded again", l, held)
	at := c.Leader()
	for k := 1; k <= 3; k++ {
		restart(t, c, (at+k)%3, raised)
		l.untilWritten(t, 20)
	}
	testcluster.Eventually(t, 10*time.Second, "the new money is in force", func() error {
		for i, body := range newMoney {
			if r := c.Nodes[i].MustDo(t, "POST", "/v1/accounts/acme/ledger", body); r.Status != 200 {
				return fmt.Errorf("%s", r)
			}
		}
		return nil
	})
	t.Log(l.end(t, c.Nodes[0]))
	// Purchased $0.000001 went with the chargeback, so $1000 are owed; $400 were wrong.
	if a := c.Nodes[1].Account(t, "acme", testcluster.Strong); a.OpenBill != "600.00000105" || a.LifetimeSpend != "0.00" || a.Tier != 0 {
		t.Errorf("%+v", a)
	}
	wantEqual(t, c)

	agreed("raised")

	// No way back.
	i := (c.Leader() + 1) % 3
	if code := c.Stop(i); code != 0 {
		t.Errorf("exit code %d", code)
	}
	n := c.Nodes[i]
	old(n)
	c.StartNode(n)
	n.WaitEnd(t)
	if log := n.LogTail(20); !strings.Contains(log, "this program is older than its cluster and must be upgraded") {
		t.Errorf("it does not say why:\n%s", log)
	}
	raised(n)
	c.StartNode(n)
	c.WaitReady()
	wantEqual(t, c)

	// The backup of the old program restores.
	restore(t, c.Nodes[0], backup)
	if a := c.Nodes[1].Account(t, "acme", testcluster.Strong); a.OpenBill != "0.00" || a.LifetimeSpend != "1000.000001" || a.Credits.Purchased != "0.000001" {
		t.Errorf("restored: %+v", a)
	}
	wantEqual(t, c)
}
