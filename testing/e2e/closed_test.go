package e2e

import (
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// TestClosed: three nodes with TLS, a gossip key and tokens.
func TestClosed(t *testing.T) {
	k, c := testcluster.NewKeys(t), testcluster.New(t, 3)
	c.Guard(k)
	for i, n := range c.Nodes {
		n.Args = append(n.Args, "--log-level", "debug") // Secrets reads it
		c.Restart(i)
	}
	c.WaitReady()
	for _, sub := range []struct {
		name string
		test func(*testing.T, *testcluster.Cluster, *testcluster.Keys)
	}{
		{"Serves", testClosedServes},
		{"Plain", testClosedPlain},
		{"Tokens", testClosedTokens},
		{"Verbs", testClosedVerbs},
		{"PeerPort", testClosedPeerPort},
		{"ClientCert", testClosedHTTP},
		{"Join", testClosedJoin},
		{"Foreign", testClosedForeign},
		{"Rotation", testClosedRotation},
		{"Secrets", testClosedSecrets}, // last: it reads the logs of all before
	} {
		t.Run(sub.name, func(t *testing.T) { sub.test(t, c, k) })
	}
}

// testClosedServes: closed is no less: checks are forwarded, writes replicated.
func testClosedServes(t *testing.T, c *testcluster.Cluster, _ *testcluster.Keys) {
	account := buy(t, c, "5.00")
	deciders := map[string]bool{}
	for _, n := range c.Nodes {
		d := n.Check(t, testcluster.Check{Account: account, Category: "llm"})
		if !d.Allowed || d.Tier != 1 {
			t.Errorf("%s: %s", n.ID, d.Reply)
		}
		deciders[d.DecidedBy] = true
		var s struct {
			Security map[string]bool `json:"security"`
		}
		r := n.MustDo(t, "GET", "/v1/cluster", nil)
		if err := r.JSON(&s); err != nil || !s.Security["tls"] || !s.Security["gossip_key"] || !s.Security["admin_token"] || s.Security["insecure"] {
			t.Errorf("%s says of itself: %s", n.ID, r)
		}
	}
	if len(deciders) != 1 {
		t.Errorf("decided by %v", deciders)
	}
}

// newToken makes a token at a node and returns its secret and the index from
// which every node knows it.
func newToken(t *testing.T, n *testcluster.Node, name string, scopes ...string) (secret string, index uint64) {
	t.Helper()
	r := n.MustDo(t, "POST", "/v1/tokens", map[string]any{"name": name, "scopes": scopes})
	var made struct{ Secret string }
	if err := r.JSON(&made); err != nil || r.Status != 200 || made.Secret == "" {
		t.Fatalf("make token %s: %s", name, r)
	}
	return made.Secret, r.Index()
}

// testClosedPlain: who speaks HTTP to a port that speaks HTTPS is told so.
func testClosedPlain(t *testing.T, c *testcluster.Cluster, _ *testcluster.Keys) {
	plain := &testcluster.Node{ID: "n1", URL: "http://" + c.Nodes[0].HTTP}
	for _, method := range []string{"GET", "POST", "DELETE"} {
		r, err := plain.Do(t.Context(), method, "/v1/cluster", nil)
		if err != nil || r.Status != 400 || !strings.Contains(string(r.Body), "HTTPS") {
			t.Errorf("%s: %v, %v", method, r, err)
		}
	}
}

// testClosedTokens: a token works and stops working on every node.
func testClosedTokens(t *testing.T, c *testcluster.Cluster, k *testcluster.Keys) {
	account := buy(t, c, "5.00")
	secret, index := newToken(t, c.Nodes[0], "e2e-gate", "check")
	c.WaitApplied(t, index)
	check := testcluster.Check{Account: account, Category: "llm"}
	for _, n := range c.Nodes {
		for _, tt := range []struct {
			token, method, path string
			body                any
			status              int
		}{
			{secret, "POST", "/v1/check", check, 200},
			{secret, "POST", "/v1/check/batch", map[string]any{"checks": []any{check}}, 200},
			{secret, "GET", "/v1/accounts/" + account, nil, 403},
			{secret, "PUT", "/v1/policy", "schema: 1", 403},
			{secret, "GET", "/v1/backup", nil, 403},
			{secret, "POST", "/v1/restore", strings.Repeat("x", 4<<20), 403}, // before its body is read
			{"", "POST", "/v1/check", check, 401},
			{"", "GET", "/metrics", nil, 401},
			{"", "GET", "/v1/backup", nil, 401},
			{"", "POST", "/v1/restore", strings.Repeat("x", 4<<20), 401},
			{"", "POST", "/v1/cluster/drain", nil, 401},
			{secret + "x", "POST", "/v1/check", check, 401},
			{strings.ToUpper(secret), "POST", "/v1/check", check, 401},
			{"", "GET", "/livez", nil, 200},
			{"", "GET", "/readyz", nil, 200},
			{"wrong", "GET", "/livez", nil, 200},
		} {
			r := n.MustDo(t, tt.method, tt.path, tt.body, testcluster.Token(tt.token))
			if r.Status != tt.status {
				t.Errorf("%s %s at %s: %s, want %d", tt.method, tt.path, n.ID, r, tt.status)
			}
			if tt.status == 401 && !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s %s: %v", tt.method, tt.path, r.Header)
			}
		}
	}
	r := c.Nodes[1].MustDo(t, "DELETE", "/v1/tokens/e2e-gate", nil)
	if r.Status != 204 {
		t.Fatalf("revoke: %s", r)
	}
	c.WaitApplied(t, r.Index())
	for _, n := range c.Nodes {
		if r := n.MustDo(t, "POST", "/v1/check", check, testcluster.Token(secret)); r.Status != 401 {
			t.Errorf("a revoked token at %s: %s", n.ID, r)
		}
	}
	// Who did it is known everywhere.
	for _, n := range c.Nodes {
		var audit struct {
			Entries []struct{ By, Action, Target string }
		}
		r := n.MustDo(t, "GET", "/v1/audit?limit=2", nil)
		if err := r.JSON(&audit); err != nil || len(audit.Entries) != 2 {
			t.Fatalf("audit: %s, %v", r, err)
		}
		if e := audit.Entries[0]; e.By != "(node)" || e.Action != "token.revoke" || e.Target != "e2e-gate" {
			t.Errorf("%s: %s", n.ID, r)
		}
	}
}

// testClosedVerbs: the command line knows whom to believe and what to show.
func testClosedVerbs(t *testing.T, c *testcluster.Cluster, k *testcluster.Keys) {
	all := c.Nodes[0].HTTP + "," + c.Nodes[1].URL // without a scheme it is https
	closed := []string{"--endpoints", all, "--tls-ca", k.CA}
	admin := append(closed, "--token", k.Token)
	run := func(code int, out string, args ...string) string {
		t.Helper()
		got := testcluster.Run(t, 20*time.Second, args...)
		if got.Code != code || !strings.Contains(got.Stdout, out) {
			t.Errorf("%v: exit code %d, want %d with %q in\n%s%s", args[:2], got.Code, code, out, got.Stdout, got.Stderr)
		}
		return got.Stdout
	}
	made := run(0, "SECRET", append([]string{"token", "create", "e2e-verbs", "--scopes", "read,check"}, admin...)...)
	secret := made[strings.LastIndex(strings.TrimSpace(made), " ")+1:]
	reader := append(closed, "--token", strings.TrimSpace(secret))
	c.WaitApplied(t, c.Nodes[0].MustDo(t, "GET", "/v1/tokens", nil, testcluster.Strong).Index())
	run(0, "e2e-verbs", append([]string{"token", "list"}, admin...)...)
	run(0, "n3", append([]string{"cluster", "status"}, reader...)...)
	run(1, "", append([]string{"token", "list"}, reader...)...)
	run(1, "", append([]string{"cluster", "status"}, closed...)...)
	run(3, "free_tier", append([]string{"check", "nobody", "--category", "llm"}, reader...)...)
	run(0, "token.create", append([]string{"audit"}, admin...)...)
	run(0, "ok", append([]string{"health", "--ready"}, closed...)...)
	run(4, "", "health", "--endpoints", c.Nodes[0].URL) // does not believe the node
	run(0, "revoked", append([]string{"token", "revoke", "e2e-verbs"}, admin...)...)
	run(2, "", append([]string{"token", "create", "e2e-verbs"}, admin...)...)
	run(1, "", append([]string{"token", "revoke", "e2e-verbs"}, admin...)...)
}
