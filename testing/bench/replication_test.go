package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"

	"quorate/testing/testcluster"
)

// mode is three nodes that replicate in one way.
type mode struct {
	name    string
	cluster *testcluster.Cluster
	loads   map[string]*measured
}

type measured struct {
	rates, p50       []float64
	checks           float64
	bounds, messages float64
}

// TestReplicationCost compares three nodes that replicate, bounded and async,
// with three that have no copies at all.
func TestReplicationCost(t *testing.T) {
	if *rounds == 0 {
		t.Skip("skipped: run by make bench-replication")
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("skipped: no wrk")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "check.lua")
	if err := os.WriteFile(script, checkLua, 0o600); err != nil {
		t.Fatal(err)
	}
	modes := []*mode{{name: "off"}, {name: "async"}, {name: "bounded"}}
	for _, m := range modes {
		m.loads = map[string]*measured{"uniform": {}, "zipf": {}}
		m.cluster = testcluster.New(t, 3)
		for i, n := range m.cluster.Nodes {
			if m.name == "off" {
				n.Program, n.Env = testcluster.FaultBinary(t), []string{testcluster.Inject("nocopies")}
			}
			m.cluster.Restart(i)
		}
		m.cluster.WaitReady()
		fill(t, m.cluster)
		if m.name == "async" {
			setMode(t, m.cluster.Nodes[0], m.name)
		}
	}
	for range *rounds {
		for _, load := range []string{"uniform", "zipf"} {
			for _, m := range modes {
				m.measure(t, script, load)
			}
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "load\treplication\tchecks/s\tto off\tp50\tto off\tbounds a check\tmessages a check\trounds\n")
	for _, load := range []string{"uniform", "zipf"} {
		off := modes[0].loads[load]
		for _, m := range modes {
			x := m.loads[load]
			fmt.Fprintf(w, "%s\t%s\t%.0f\t%.2f\t%.0f us\t%.2f\t%.5f\t%.5f\t%.0f\n", load, m.name, median(x.rates), median(x.rates)/median(off.rates),
				median(x.p50), median(x.p50)/median(off.p50), x.bounds/x.checks, x.messages/x.checks, x.rates)
		}
	}
	_ = w.Flush() // standard output
}

// setMode changes the replication of the policy in force.
func setMode(t *testing.T, n *testcluster.Node, mode string) {
	t.Helper()
	var got struct {
		Policy map[string]any `json:"policy"`
	}
	r := n.MustDo(t, "GET", "/v1/policy", nil)
	if err := r.JSON(&got); err != nil {
		t.Fatal(err)
	}
	got.Policy["replication"] = map[string]string{"mode": mode, "slack": "5%"}
	if r := n.MustDo(t, "PUT", "/v1/policy", got.Policy, func(q *testcluster.Request) { q.Header.Set("If-Match", r.Header.Get("ETag")) }); r.Status != 200 {
		t.Fatal(r)
	}
}

func (m *mode) measure(t *testing.T, script, load string) {
	t.Helper()
	x := m.loads[load]
	bounds, messages := m.sent(t)
	l := runWrk(t, script, m.cluster.Nodes[0].URL, connections, *each, load)
	after, afterMessages := m.sent(t)
	x.rates, x.p50 = append(x.rates, l.Rate), append(x.p50, l.P50)
	x.checks += l.Rate * each.Seconds()
	x.bounds, x.messages = x.bounds+after-bounds, x.messages+afterMessages-messages
}

// sent returns the bounds that all nodes have sent, and their messages.
func (m *mode) sent(t *testing.T) (bounds, messages float64) {
	t.Helper()
	for _, n := range m.cluster.Nodes {
		s := bufio.NewScanner(bytes.NewReader(n.MustDo(t, "GET", "/metrics", nil).Body))
		for s.Scan() {
			name, value, _ := strings.Cut(s.Text(), " ")
			var v float64
			if _, err := fmt.Sscan(value, &v); err != nil {
				continue
			}
			switch name {
			case "quorate_replication_bounds_total":
				bounds += v
			case "quorate_replication_messages_total":
				messages += v
			}
		}
	}
	return bounds, messages
}
