package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// testSurface: what every node answers besides checks and money.
func testSurface(t *testing.T, c *testcluster.Cluster) {
	for _, node := range c.Nodes {
		for _, path := range []string{"/livez", "/readyz", "/readyz?verbose", "/v1/policy", "/v1/cluster", "/metrics"} {
			r := node.MustDo(t, "GET", path, nil)
			if r.Status != 200 || r.Header.Get("Cache-Control") != "no-store" || r.Index() == 0 {
				t.Errorf("GET %s: %s, headers %v", path, r, r.Header)
			}
			head := node.MustDo(t, "HEAD", path, nil)
			if head.Status != 200 || len(head.Body) != 0 {
				t.Errorf("HEAD %s: %s", path, head)
			}
		}
		if r := node.MustDo(t, "GET", "/readyz?verbose", nil); !strings.Contains(string(r.Body), "[+]raft") || !strings.Contains(string(r.Body), "[+]leader") {
			t.Errorf("readyz: %s", r)
		}
		r := node.MustDo(t, "GET", "/metrics", nil)
		for _, name := range []string{
			"quorate_checks_total", "quorate_check_duration_seconds", "quorate_forwarded_total", "quorate_degraded_total",
			"quorate_ledger_entries_total", "quorate_owner_epoch", "quorate_partitions_owned",
		} {
			if !strings.Contains(string(r.Body), "\n"+name) {
				t.Errorf("%s has no %s", node.ID, name)
			}
		}
		if strings.Contains(string(r.Body), "e2e-") {
			t.Errorf("the metrics of %s name an account", node.ID)
		}
	}

	var policy struct {
		Revision uint64
		Policy   struct {
			Schema int
			Tiers  []struct {
				Level       int
				Name, Spend string
			}
		}
	}
	r := c.Nodes[2].MustDo(t, "GET", "/v1/policy", nil)
	if err := r.JSON(&policy); err != nil || policy.Revision == 0 || len(policy.Policy.Tiers) != 5 || policy.Policy.Tiers[4].Spend != "1000.00" {
		t.Errorf("policy: %s, %v", r, err)
	}
	if r.Header.Get("ETag") == "" {
		t.Errorf("the policy has no ETag: %v", r.Header)
	}

	s := c.Nodes[0].Status(t)
	voters := 0
	for i, n := range c.Nodes {
		line := s.Node(n.ID)
		if line == nil || line.HTTP != n.HTTP || line.Peer != n.Peer || line.Gossip != n.Gossip || line.Version == "" || line.AppliedIndex == 0 {
			t.Errorf("node %d: %+v", i, line)
		} else if line.Voter {
			voters++
		}
	}
	if s.ClusterID == "" || voters != 3 {
		t.Errorf("cluster %q with %d voters", s.ClusterID, voters)
	}
	for _, n := range c.Nodes {
		if got := n.Status(t); got.ClusterID != s.ClusterID {
			t.Errorf("%s is of cluster %q, another of %q", n.ID, got.ClusterID, s.ClusterID)
		}
	}

	// Ids in paths may be percent-encoded, and : and @ may be raw.
	c.WaitApplied(t, c.Nodes[0].Purchase(t, "user:42@e2e", "k", "5").Reply.Index())
	for _, path := range []string{"/v1/accounts/user:42@e2e", "/v1/accounts/user%3A42%40e2e", "/v1/accounts/%75ser:42@e2e"} {
		if r := c.Nodes[1].MustDo(t, "GET", path, nil); r.Status != 200 || r.Header.Get("ETag") == "" {
			t.Errorf("GET %s: %s", path, r)
		}
	}

	// A check for more than the burst can never pass, and says so.
	d := c.Nodes[1].Check(t, costing(buy(t, c, "5"), "llm", 601))
	if d.Reply.Status != 429 || !d.NeverFits || d.RetryAfterMS != nil || d.Reply.Header.Get("Retry-After") != "" || d.Reply.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("601 of 600: %s, headers %v", d.Reply, d.Reply.Header)
	}
	// An allowed one carries the draft's headers.
	d = c.Nodes[2].Check(t, costing(buy(t, c, "5"), "llm", 1))
	if got := d.Reply.Header.Get("RateLimit-Policy"); got != `"llm-requests-1m";q=600;w=60` {
		t.Errorf("RateLimit-Policy: %s", got)
	}
	if got := d.Reply.Header.Get("RateLimit"); got != `"llm-requests-1m";r=599;t=1` {
		t.Errorf("RateLimit: %s", got)
	}
	d = c.Nodes[2].Check(t, costing(buy(t, c, "5"), "rerank", 1))
	got := d.Reply.Header.Get("RateLimit-Policy") // parameters have no order
	if !strings.HasPrefix(got, `"rerank-tokens-1m";q=500000;`) || !strings.Contains(got, `;w=60`) || !strings.Contains(got, `;qu="tokens"`) {
		t.Errorf("RateLimit-Policy: %s", got)
	}
}

// testVerbs: the client's verbs and their exit codes.
func testVerbs(t *testing.T, c *testcluster.Cluster) {
	all := c.Nodes[0].URL + "," + c.Nodes[1].URL + "," + c.Nodes[2].URL
	dead := "http://" + testcluster.FreeAddr(t)
	account := newAccount(t)
	for _, tt := range []struct {
		name string
		args []string
		code int
		out  string // in stdout
	}{
		{"health", []string{"health"}, 0, ""},
		{"version", []string{"version"}, 0, ""},
		{"completion", []string{"completion", "bash"}, 0, "quorate"},
		{"status", []string{"cluster", "status"}, 0, "n3"},
		{"denied", []string{"check", account, "--category", "llm"}, 3, "free_tier"},
		{"free credit", []string{"ledger", "free-credit", account, "10", "--key", "gift"}, 0, ""},
		{"still denied", []string{"check", account, "--category", "llm"}, 3, "free_tier"},
		{"purchase", []string{"ledger", "purchase", account, "5.00", "--key", "k"}, 0, ""},
		{"account", []string{"account", "get", account, "-o", "json"}, 0, `"tier":`},
		{"allowed", []string{"check", account, "--category", "llm", "-o", "json"}, 0, `"allowed":`},
		{"another endpoint is tried", []string{"check", account, "--category", "llm", "--endpoints", dead + "," + all}, 0, ""},
		{"nobody there", []string{"check", account, "--category", "llm", "--endpoints", dead}, 4, ""},
		{"no account", []string{"account", "get", "nobody-of-that-name"}, 1, ""},
		{"key reused", []string{"ledger", "purchase", account, "6", "--key", "k"}, 1, ""},
		{"no key", []string{"ledger", "purchase", account, "6"}, 2, ""},
		{"no argument", []string{"check"}, 2, ""},
		{"unknown flag", []string{"check", account, "--categry", "llm"}, 2, ""},
		{"unknown verb", []string{"chekc", account}, 2, ""},
	} {
		args := tt.args
		if !strings.Contains(strings.Join(args, " "), "--endpoints") && args[0] != "version" && args[0] != "completion" {
			args = append(args, "--endpoints", all)
		}
		got := testcluster.Run(t, 20*time.Second, args...)
		for _, n := range c.Nodes { // a verb does not say what the next one must know
			c.WaitApplied(t, n.MustDo(t, "GET", "/livez", nil).Index())
		}
		if got.Code != tt.code || !strings.Contains(got.Stdout, tt.out) {
			t.Errorf("%s: exit code %d, want %d with %q in\n%s%s", tt.name, got.Code, tt.code, tt.out, got.Stdout, got.Stderr)
		}
		if got.Code != 0 && got.Code != 3 && strings.TrimSpace(got.Stderr) == "" {
			t.Errorf("%s: exit code %d and no word why", tt.name, got.Code)
		}
	}
	// Any order of flags and any node: what was bought counts at each at once.
	for _, n := range c.Nodes {
		d, err := n.Decide(context.Background(), testcluster.Check{Account: account, Category: "llm"})
		if err != nil || d.Reply.Status != http.StatusOK {
			t.Errorf("%s after the verbs: %v, %v", n.ID, d, err)
		}
	}
}
