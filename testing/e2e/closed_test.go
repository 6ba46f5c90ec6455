package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
	known(t, c, index)
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
	known(t, c, r.Index())
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
	known(t, c, c.Nodes[0].MustDo(t, "GET", "/v1/tokens?consistency=strong", nil).Index())
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

// knock dials a peer port and returns what came of saying who one is not.
func knock(t *testing.T, addr string, config *tls.Config) error {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if config != nil {
		s := tls.Client(conn, config)
		if err := s.Handshake(); err != nil {
			return err
		}
		conn = s
	}
	// A node answers a ping's frame; who is refused reads the end.
	if _, err := io.WriteString(conn, "QPEER\x03\x00\x00\x00\x06\x02\x00\x00\x00\x00\x00\x00\x00\x01\x01\x93\xa1x\x01\x01"); err != nil {
		return err
	}
	var b [1]byte
	_, err = io.ReadFull(conn, b[:])
	return err
}

// testClosedPeerPort: the peer port is for nodes.
func testClosedPeerPort(t *testing.T, c *testcluster.Cluster, k *testcluster.Keys) {
	before := c.Nodes[0].Status(t)
	k.Cert(t, "a-client", "client")
	k.Cert(t, "a-node", "node")
	foreign := testcluster.NewKeys(t)
	foreign.Cert(t, "a-node", "node")
	load := func(k *testcluster.Keys, name string) []tls.Certificate {
		own, err := tls.LoadX509KeyPair(filepath.Join(k.Dir, name+".pem"), filepath.Join(k.Dir, name+"-key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{own}
	}
	config := func(certs []tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: k.Pool(t), ServerName: "node.quorate.internal", Certificates: certs}
	}
	for _, n := range c.Nodes {
		if err := knock(t, n.Peer, config(load(k, "a-node"))); err != nil {
			t.Errorf("a node's certificate at %s: %v", n.ID, err) // or the rest shows nothing
		}
		old := config(load(k, "a-node"))
		old.MaxVersion = tls.VersionTLS12
		for name, config := range map[string]*tls.Config{
			"plain TCP":                              nil,
			"no certificate":                         config(nil),
			"a client's certificate":                 config(load(k, "a-client")),
			"a node's of another authority":          config(load(foreign, "a-node")),
			"TLS 1.2":                                old,
			"a name that the server does not go by":  {RootCAs: k.Pool(t), ServerName: "client.quorate.internal", Certificates: load(k, "a-node")},
			"an authority that is not the server's ": {RootCAs: foreign.Pool(t), ServerName: "node.quorate.internal", Certificates: load(k, "a-node")},
		} {
			if err := knock(t, n.Peer, config); err == nil {
				t.Errorf("%s: %s answered", name, n.ID)
			}
		}
	}
	healthy(t, c, before)
}

// healthy fails unless nothing has changed in a cluster that is to be left
// alone.
func healthy(t *testing.T, c *testcluster.Cluster, before *testcluster.Status) {
	t.Helper()
	for _, n := range c.Nodes {
		if !n.Running() {
			t.Fatalf("%s died", n.ID)
		}
		after := n.Status(t)
		if after.Epoch != before.Epoch || after.Term != before.Term || len(after.Nodes) != len(before.Nodes) || after.ClusterID != before.ClusterID {
			t.Errorf("%s: %+v, was %+v", n.ID, after, before)
		}
	}
}

// testClosedHTTP: a node with --tls-client-auth wants a certificate of clients.
func testClosedHTTP(t *testing.T, _ *testcluster.Cluster, k *testcluster.Keys) {
	one := testcluster.New(t, 1)
	one.Guard(k)
	k.Cert(t, "gateway", "client")
	n := one.Nodes[0]
	n.Args = append(n.Args, "--tls-client-auth")
	without := n.Client
	n.Client = k.Client(t, "gateway")
	one.Restart(0)
	one.WaitReady()
	n.Client = without
	if r, err := n.Do(t.Context(), "GET", "/livez", nil); err == nil {
		t.Errorf("without a certificate: %s", r)
	}
}

// testClosedJoin: who has the keys is let in, and the audit says so.
func testClosedJoin(t *testing.T, _ *testcluster.Cluster, k *testcluster.Keys) {
	one, other := testcluster.New(t, 1), testcluster.New(t, 1)
	one.Guard(k)
	one.Restart(0)
	one.WaitReady()
	n := other.Nodes[0]
	n.ID = "n2"
	other.Guard(k)
	for i, a := range n.Args {
		switch a {
		case "--node-id":
			n.Args[i+1] = n.ID
		case "--bootstrap-expect":
			n.Args[i+1] = "0"
		}
	}
	n.Args = append(n.Args, "--join", one.Nodes[0].Gossip)
	other.Restart(0)
	testcluster.Eventually(t, 30*time.Second, "the new node is a voter and in the audit", func() error {
		for _, node := range []*testcluster.Node{one.Nodes[0], n} {
			r, err := node.Do(t.Context(), "GET", "/v1/audit", nil)
			if err != nil {
				return err
			}
			var audit struct {
				Entries []struct{ By, Action, Target, Detail string }
			}
			if err := r.JSON(&audit); err != nil {
				return err
			}
			joined := false
			for _, e := range audit.Entries {
				joined = joined || e.By == "(cluster)" && e.Action == "node.join" && e.Target == "n2" && e.Detail == "voter at "+n.Peer
			}
			if !joined {
				return errors.New(r.String())
			}
		}
		return nil
	})
}

// testClosedForeign: nodes of another cluster stay outside, and both clusters
// well, whatever they lack.
func testClosedForeign(t *testing.T, c *testcluster.Cluster, k *testcluster.Keys) {
	before := c.Nodes[0].Status(t)
	var members []string
	for _, n := range c.Nodes {
		members = append(members, n.Gossip)
	}
	foreign := testcluster.NewKeys(t)
	both := func(name string) string { // the keys of the one, then of the other
		b, err := os.ReadFile(filepath.Join(k.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for i, tt := range []struct {
		name string
		keys func() *testcluster.Keys
	}{
		{"another authority, the right gossip key", func() *testcluster.Keys {
			f := testcluster.NewKeys(t)
			f.Write(t, "gossip-key", both("gossip-key"))
			return f
		}},
		{"another gossip key, the right authority", func() *testcluster.Keys {
			f := *k
			f.Dir = t.TempDir()
			for _, name := range []string{"ca.pem", "ca-key.pem", "admin-token"} {
				f.Write(t, name, both(name))
			}
			f.CA = filepath.Join(f.Dir, "ca.pem")
			b, err := os.ReadFile(filepath.Join(foreign.Dir, "gossip-key"))
			if err != nil {
				t.Fatal(err)
			}
			f.Write(t, "gossip-key", string(b))
			return &f
		}},
		{"nothing right", func() *testcluster.Keys { return foreign }},
		{"open", func() *testcluster.Keys { return nil }},
	} {
		other := testcluster.New(t, 1)
		if keys := tt.keys(); keys != nil {
			other.Guard(keys)
		}
		n := other.Nodes[0]
		n.ID = fmt.Sprint("x", i)
		for at, a := range n.Args {
			if a == "--node-id" {
				n.Args[at+1] = n.ID
			}
		}
		n.Args = append(n.Args, "--join", strings.Join(members, ","))
		other.Restart(0)
		if tt.name == "another authority, the right gossip key" {
			// It sees the others by gossip, so that it cannot found a cluster of one, and
			// must not be let in: it never gets a leader.
			testcluster.Eventually(t, 30*time.Second, "the nodes see the stranger", func() error {
				if s := c.Nodes[0].Status(t); s.Node(n.ID) == nil {
					return errors.New("not yet")
				}
				return nil
			})
			refusedALot(t, c)
			if s := c.Nodes[0].Status(t).Node(n.ID); s.Voter || s.Partitions != 0 || s.AppliedIndex != 0 {
				t.Errorf("%s: it was let in: %+v", tt.name, s)
			}
		} else {
			other.WaitReady() // a cluster of its own
			if s := n.Status(t); len(s.Nodes) != 1 || s.ClusterID == before.ClusterID {
				t.Errorf("%s: the stranger sees %+v", tt.name, s)
			}
			if s := c.Nodes[0].Status(t); s.Node(n.ID) != nil {
				t.Errorf("%s: seen as %+v", tt.name, s.Node(n.ID))
			}
		}
		other.Kill(0)
		for _, member := range c.Nodes {
			s := member.Status(t)
			if s.Epoch != before.Epoch || s.Term != before.Term {
				t.Errorf("%s: %s is at epoch %d, term %d, was at %d, %d", tt.name, member.ID, s.Epoch, s.Term, before.Epoch, before.Term)
			}
			account := buy(t, c, "5.00")
			if d := member.Check(t, testcluster.Check{Account: account, Category: "llm"}); !d.Allowed {
				t.Errorf("%s: %s", tt.name, d.Reply)
			}
		}
	}
}

// refusedALot waits until each node has said that it refused somebody.
func refusedALot(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	testcluster.Eventually(t, 30*time.Second, "the stranger is refused", func() error {
		for _, n := range c.Nodes {
			if !strings.Contains(n.Log(t), "a connection to the peer port was refused") {
				return fmt.Errorf("%s has refused nobody", n.ID)
			}
		}
		return nil
	})
}

// testClosedRotation: everything is replaced while the cluster works.
func testClosedRotation(t *testing.T, c *testcluster.Cluster, k *testcluster.Keys) {
	before := c.Nodes[0].Status(t)
	account := buy(t, c, "1000")
	ctx, stop := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	done := make(chan int)
	load := make([]*testcluster.Node, len(c.Nodes)) // as they are now: connections that stand stay
	for i, n := range c.Nodes {
		load[i] = &testcluster.Node{ID: n.ID, URL: n.URL, Client: n.Client, Token: n.Token}
	}
	go func() { // checks all the while, at every node
		n := 0
		for ; ctx.Err() == nil; n++ {
			_, err := load[n%3].Decide(context.WithoutCancel(ctx), testcluster.Check{Account: account, Category: "llm"})
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		}
		done <- n
	}()
	logged := func(what string, times int) {
		t.Helper()
		for _, n := range c.Nodes {
			testcluster.Eventually(t, 30*time.Second, n.ID+" reads "+what, func() error {
				if got := strings.Count(n.Log(t), `msg="read again" node=`+n.ID+` what=`+what); got < times {
					return fmt.Errorf("%d of %d times", got, times)
				}
				return nil
			})
		}
	}
	old := strings.TrimSpace(readFile(t, filepath.Join(k.Dir, "gossip-key")))
	fresh := strings.TrimSpace(testcluster.Run(t, 10*time.Second, "gossip", "keygen").Stdout)
	for i, text := range []string{old + "\n" + fresh, fresh + "\n" + old, fresh} {
		k.Write(t, "gossip-key", text) // the first is noticed by itself
		if i > 0 {
			for _, n := range c.Nodes {
				n.Signal(t, syscall.SIGHUP)
			}
		}
		logged(`"gossip keys"`, i+1)
	}

	// Another authority: believed beside the old one, then vouching for all, then
	// alone. Each node is told by signal.
	next := testcluster.NewKeys(t)
	hup := func(what string, times int) {
		t.Helper()
		for _, n := range c.Nodes {
			n.Signal(t, syscall.SIGHUP)
		}
		logged(what, times)
	}
	k.Write(t, "ca.pem", readFile(t, k.CA)+readFile(t, next.CA))
	hup("certificates", 1)
	for _, n := range c.Nodes {
		cert, key := next.Cert(t, n.ID, "node")
		k.Write(t, n.ID+"-key.pem", readFile(t, key))
		k.Write(t, n.ID+".pem", readFile(t, cert))
	}
	hup("certificates", 2)
	k.Write(t, "ca.pem", readFile(t, next.CA))
	k.Write(t, "ca-key.pem", readFile(t, filepath.Join(next.Dir, "ca-key.pem")))
	hup("certificates", 3)
	https := k.Client(t, "")
	for _, n := range c.Nodes {
		n.Client = https
	}
	conn, err := tls.Dial("tcp", c.Nodes[0].HTTP, &tls.Config{RootCAs: k.Pool(t)})
	if err != nil {
		t.Fatal(err)
	}
	shown := conn.ConnectionState().PeerCertificates[0]
	_ = conn.Close() // nothing was sent
	own, err := tls.LoadX509KeyPair(filepath.Join(k.Dir, "n1.pem"), filepath.Join(k.Dir, "n1-key.pem"))
	if err != nil || !shown.Equal(own.Leaf) {
		t.Errorf("the old certificate is still shown (%v)", err)
	}

	// A second admin token, then the first goes.
	token := strings.TrimSpace(testcluster.Run(t, 10*time.Second, "token", "generate").Stdout)
	k.Write(t, "admin-token", k.Token+"\n"+token)
	hup(`"admin token"`, 1)
	stop()
	if n := <-done; n < 100 {
		t.Errorf("only %d checks", n)
	} else {
		t.Logf("%d checks during the rotation", n)
	}
	select {
	case err := <-failed:
		t.Errorf("a check failed meanwhile: %v", err)
	default:
	}
	k.Write(t, "admin-token", token)
	hup(`"admin token"`, 2)
	for _, n := range c.Nodes {
		if r := n.MustDo(t, "GET", "/v1/policy", nil); r.Status != 401 {
			t.Errorf("the old admin token at %s: %s", n.ID, r)
		}
		n.Token = token
	}
	k.Token = token
	healthy(t, c, before)

	// A node that starts with the new files finds the others.
	c.Stop(2)
	c.Restart(2)
	c.WaitReady()
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// testClosedSecrets: nothing secret is in a log or in a node's data, and what
// a request says cannot forge a line.
func testClosedSecrets(t *testing.T, c *testcluster.Cluster, k *testcluster.Keys) {
	secret, index := newToken(t, c.Nodes[0], "e2e-secret", "read")
	known(t, c, index)
	forged := "x\nlevel=ERROR msg=forged\r\x1b[31m"
	for _, n := range c.Nodes {
		n.MustDo(t, "GET", "/v1/accounts/"+strings.NewReplacer("\n", "%0a", "\r", "%0d", "\x1b", "%1b", " ", "%20", "[", "%5b").Replace(forged), nil, testcluster.Token(secret))
		n.MustDo(t, "PUT", "/v1/policy", "partition: "+forged, testcluster.Token(secret))
	}
	secrets := []string{secret, k.Token, strings.TrimSpace(readFile(t, filepath.Join(k.Dir, "gossip-key"))), "PRIVATE KEY"}
	for _, n := range c.Nodes {
		log := n.Log(t)
		for _, line := range strings.Split(strings.TrimSpace(log), "\n") {
			if !strings.HasPrefix(line, "time=") || strings.ContainsAny(line, "\r\x1b") {
				t.Errorf("%s logged %q", n.ID, line)
			}
		}
		err := filepath.WalkDir(n.DataDir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			for _, s := range secrets {
				if strings.Contains(string(b), s) {
					t.Errorf("%s holds a secret", path)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		for _, s := range secrets {
			if strings.Contains(log, s) {
				t.Errorf("the log of %s holds a secret", n.ID)
			}
		}
	}
}
