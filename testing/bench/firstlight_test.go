// Package bench measures quorate beside what its speed is compared with, in
// one run on one machine: only ratios from one run mean anything.
package bench

import (
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"quorate/testing/testcluster"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m)) }

var (
	rounds = flag.Int("rounds", 0, "how often each system is measured; 0 skips")
	each   = flag.Duration("each", 5*time.Second, "how long one measurement takes")
)

const (
	accounts    = 10_000
	connections = 32
)

// checkLua has wrk send checks of random accounts and print what it measured
// as one line of JSON.
//
//go:embed check.lua
var checkLua []byte

// system is something that answers POST /v1/check.
type system struct {
	name  string
	url   string
	rates []float64 // answers a second at 32 connections
	p50   []float64 // microseconds, likewise
	p99   []float64
	alone []float64 // p50 in microseconds of one connection
}

// TestFirstLight puts one node, and three nodes of which one is asked, beside
// nginx's `return 200`, which is what the load generator and the kernel allow.
func TestFirstLight(t *testing.T) {
	if *rounds == 0 {
		t.Skip("skipped: run by make bench")
	}
	for _, tool := range []string{"wrk", "nginx"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("skipped: no %s", tool)
		}
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "check.lua")
	if err := os.WriteFile(script, checkLua, 0o600); err != nil {
		t.Fatal(err)
	}
	one, three := testcluster.Start(t, 1), testcluster.Start(t, 3)
	fill(t, one)
	fill(t, three)
	systems := []*system{
		{name: "nginx return 200", url: startNginx(t, dir)},
		{name: "one node", url: one.Nodes[0].URL},
		{name: "three nodes, one asked", url: three.Nodes[0].URL},
	}
	for range *rounds {
		for _, s := range systems { // in turn, so that a slow minute hits all
			s.measure(t, script)
		}
	}
	report(systems)
}

// fill gives every account the highest tier, so that no check is refused.
func fill(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	var index uint64
	for from := 0; from < accounts; from += 1000 {
		var entries []testcluster.Entry
		for i := range 1000 {
			entries = append(entries, testcluster.Entry{
				Account: fmt.Sprintf("bench-%05d", from+i), Key: "k", Type: "purchase", Amount: "1000",
			})
		}
		r := c.Nodes[0].MustDo(t, "POST", "/v1/ledger", map[string]any{"entries": entries})
		if r.Status != 200 || strings.Contains(string(r.Body), `"code":`) {
			t.Fatal(r)
		}
		index = r.Index()
	}
	for _, n := range c.Nodes {
		if r := n.MustDo(t, "GET", "/v1/cluster", nil, testcluster.MinIndex(index)); r.Status != 200 {
			t.Fatal(r)
		}
	}
}

func startNginx(t *testing.T, dir string) (url string) {
	t.Helper()
	addr := testcluster.FreeAddr(t)
	config := filepath.Join(dir, "nginx.conf")
	// A body as long as a decision; all its files in a folder of its own.
	if err := os.WriteFile(config, fmt.Appendf(nil, `
daemon off;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log stderr;
events { worker_connections 1024; }
http {
	access_log off;
	default_type application/json;
	keepalive_requests 1000000000;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s;
		location / { return 200 '%[3]s'; }
	}
}
`, dir, addr, `{"allowed":true,"padding":"`+strings.Repeat("x", 330)+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-p", dir, "-c", config)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // its workers end with it
		_ = cmd.Wait()                       // how it ends is of no interest
	})
	url = "http://" + addr
	node := &testcluster.Node{ID: "nginx", URL: url}
	testcluster.Eventually(t, 10*time.Second, "nginx answers", func() error {
		r, err := node.Do(t.Context(), "POST", "/v1/check", "{}")
		if err == nil && r.Status != 200 {
			err = errors.New(r.String())
		}
		return err
	})
	return url
}

func (s *system) measure(t *testing.T, script string) {
	t.Helper()
	busy := runWrk(t, script, s.url, connections, *each)
	alone := runWrk(t, script, s.url, 1, max(time.Second, *each/3))
	s.rates = append(s.rates, busy.Rate)
	s.p50, s.p99 = append(s.p50, busy.P50), append(s.p99, busy.P99)
	s.alone = append(s.alone, alone.P50)
	if busy.Errors+alone.Errors > 0 {
		t.Errorf("%s: %d answers were no success", s.name, busy.Errors+alone.Errors)
	}
}

// load is what check.lua prints; latencies in microseconds.
type load struct {
	Rate, P50, P99 float64
	Errors         int
}

func runWrk(t *testing.T, script, url string, conns int, long time.Duration, more ...string) (l load) {
	t.Helper()
	cmd := exec.Command("wrk", "-t1", fmt.Sprint("-c", conns), fmt.Sprintf("-d%.0fs", long.Seconds()), "-s", script, url, "--", fmt.Sprint(accounts))
	cmd.Args = append(cmd.Args, more...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &l); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return l
}

// report prints medians, and the ratios to the first system.
func report(systems []*system) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "system\tchecks/s\tratio\tp50\tp99\tp50 alone\tratio\trounds\n")
	first := systems[0]
	for _, s := range systems {
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.0f us\t%.0f us\t%.0f us\t%.2f\t%.0f\n",
			s.name, median(s.rates), median(s.rates)/median(first.rates), median(s.p50), median(s.p99),
			median(s.alone), median(s.alone)/median(first.alone), s.rates)
	}
	_ = w.Flush() // standard output
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[len(s)/2] + s[(len(s)-1)/2]) / 2
}
