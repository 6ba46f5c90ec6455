package rest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"quorate/fsm/ledger"
)

func TestPolicyIsShown(t *testing.T) {
	s, _ := newServer(t)
	a := ask(s, "GET", "/v1/policy", "")
	var got struct {
		Revision uint64
		Policy   ledger.Policy
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Revision != 1 || len(got.Policy.Tiers) != 5 || a.get("ETag") != `"1"` {
		t.Errorf("%s %s %v", a.get("ETag"), a.body, err)
	}
	if a = ask(s, "GET", "/v1/policy?format=yaml", ""); a.body != string(ledger.DefaultPolicy()) || a.get("Content-Type") != "application/yaml" || a.get("ETag") != `"1"` {
		t.Errorf("%s", a.header)
	}
	a = ask(s, "GET", "/v1/policy?format=xml", "")
	if _, field := a.code(t); a.status != 400 || field != "format" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestClusterIsShown(t *testing.T) {
	s, n := newServer(t)
	want := `{"cluster_id":"","leader":null,"term":0,"epoch":0,"unowned":0,"moving":0,"settling":false,"time":null,"keys_remembered_since":null,"settings":{"key_memory":"","key_memory_entries":0},"nodes":[],"node":"","security":{"tls":false,"gossip_key":false,"admin_token":false,"insecure":false}}`
	if a := ask(s, "GET", "/v1/cluster", ""); a.status != 200 || a.body != want {
		t.Errorf("%d %s", a.status, a.body)
	}
	leader := "n1"
	n.cluster = ClusterStatus{ClusterID: "c", Leader: &leader, Nodes: []NodeStatus{{ID: "n1", State: "alive", Voter: true}}}
	if a := ask(s, "GET", "/v1/cluster", ""); !strings.Contains(a.body, `"leader":"n1"`) || !strings.Contains(a.body, `"state":"alive","voter":true`) {
		t.Errorf("%s", a.body)
	}
}

func TestReadiness(t *testing.T) {
	for _, c := range []struct {
		name    string
		probes  []Probe
		status  int
		verbose string
	}{
		{"all well", []Probe{{"raft", true, true}, {"leader", true, false}}, 200, "[+]raft ok\n[+]leader ok\n"},
		{"no leader", []Probe{{"raft", true, true}, {"leader", false, false}}, 200, "[+]raft ok\n[-]leader failed\n"},
		{"starting", []Probe{{"raft", false, true}}, 503, "[-]raft failed\n"},
	} {
		s, n := newServer(t)
		n.probes = c.probes
		if a := ask(s, "GET", "/readyz?verbose", ""); a.status != c.status || a.body != c.verbose {
			t.Errorf("%s: %d %q", c.name, a.status, a.body)
		}
		a := ask(s, "GET", "/readyz", "")
		if a.status != c.status {
			t.Errorf("%s: %d %q", c.name, a.status, a.body)
		}
		if c.status == 503 {
			if code, _ := a.code(t); code != "unavailable" || !strings.Contains(a.body, "raft") {
				t.Errorf("%s: %s", c.name, a.body)
			}
		}
		if a := ask(s, "GET", "/livez", ""); a.status != 200 || a.body != "ok\n" {
			t.Errorf("%s: live %d %q", c.name, a.status, a.body)
		}
	}
}

func TestMetricsAreWritten(t *testing.T) {
	s, n := newServer(t)
	if a := ask(s, "GET", "/metrics", ""); a.status != 200 || a.body != "quorate_checks_total 1\n" || !strings.HasPrefix(a.get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("%d %s %s", a.status, a.header, a.body)
	}
	n.err = errors.New("broken")
	a := ask(s, "GET", "/metrics", "")
	if code, _ := a.code(t); a.status != 500 || code != "internal" {
		t.Errorf("%d %s", a.status, a.body)
	}
}
