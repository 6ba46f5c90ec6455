package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// TestAccessCost compares one node that is open with one that asks for tokens
// and one that is closed. The ratio of the second is what tokens cost.
func TestAccessCost(t *testing.T) {
	if *rounds == 0 {
		t.Skip("skipped: run by make bench-access")
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("skipped: no wrk")
	}
	script := filepath.Join(t.TempDir(), "check.lua")
	if err := os.WriteFile(script, checkLua, 0o600); err != nil {
		t.Fatal(err)
	}
	open, tokens := testcluster.Start(t, 1), testcluster.New(t, 1)
	keys := testcluster.NewKeys(t)
	tokens.Nodes[0].Args = append(tokens.Nodes[0].Args, "--admin-token-file", filepath.Join(keys.Dir, "admin-token"))
	tokens.Nodes[0].Token = keys.Token
	tokens.Restart(0)
	tokens.WaitReady()
	closed, own := testcluster.StartClosed(t, 1)
	nobody := []string{"alike"}
	type measured struct {
		*system
		args []string
	}
	var all []measured
	for _, m := range []struct {
		name    string
		cluster *testcluster.Cluster
		admin   string
	}{{"open", open, ""}, {"tokens", tokens, keys.Token}, {"closed: tokens and TLS", closed, own.Token}} {
		fill(t, m.cluster)
		args := nobody
		if m.admin != "" {
			args = append(nobody[:1:1], makeToken(t, m.cluster.Nodes[0]))
		}
		all = append(all, measured{&system{name: m.name, url: m.cluster.Nodes[0].URL}, args})
	}
	var systems []*system
	for round := range *rounds {
		for i := range all { // each begins a round in turn: what is first finds the machine rested
			s := all[(round+i)%len(all)]
			busy := runWrk(t, script, s.url, connections, *each, s.args...)
			alone := runWrk(t, script, s.url, 1, max(time.Second, *each/3), s.args...)
			s.rates, s.alone = append(s.rates, busy.Rate), append(s.alone, alone.P50)
			s.p50, s.p99 = append(s.p50, busy.P50), append(s.p99, busy.P99)
			if busy.Errors+alone.Errors > 0 {
				t.Errorf("%s: %d answers were no success", s.name, busy.Errors+alone.Errors)
			}
		}
	}
	for _, s := range all {
		systems = append(systems, s.system)
	}
	report(systems)
}

// makeToken makes a token with the scope check.
func makeToken(t *testing.T, n *testcluster.Node) string {
	t.Helper()
	r := n.MustDo(t, "POST", "/v1/tokens", map[string]any{"name": "bench", "scopes": []string{"check"}})
	var made struct{ Secret string }
	if err := r.JSON(&made); err != nil || r.Status != 200 {
		t.Fatalf("make a token: %s", r)
	}
	return made.Secret
}
