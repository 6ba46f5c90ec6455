package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

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
	c.WaitApplied(t, index)
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
