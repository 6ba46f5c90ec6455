package testcluster

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Keys are what a closed cluster is closed with: files that the program itself
// made.
type Keys struct {
	Dir   string
	CA    string // also to be believed by clients
	Token string // of an admin, at every node
}

// NewKeys makes an authority, a gossip key and an admin token.
func NewKeys(tb testing.TB) *Keys {
	tb.Helper()
	k := &Keys{Dir: tb.TempDir()}
	k.CA = filepath.Join(k.Dir, "ca.pem")
	mustRun(tb, "tls", "ca", "--dir", k.Dir)
	k.Token = k.Write(tb, "admin-token", mustRun(tb, "token", "generate"))
	k.Write(tb, "gossip-key", mustRun(tb, "gossip", "keygen"))
	return k
}

// Write writes a file and returns its text without the white space around it.
// The file is replaced in one step, as whoever rotates keys should do.
func (k *Keys) Write(tb testing.TB, name, text string) string {
	tb.Helper()
	path := filepath.Join(k.Dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(text)
}

// Cert makes a certificate of a role and returns its files, in place of those
// of its name.
func (k *Keys) Cert(tb testing.TB, name, role string) (cert, key string) {
	tb.Helper()
	cert, key = filepath.Join(k.Dir, name+".pem"), filepath.Join(k.Dir, name+"-key.pem")
	_ = os.Remove(cert) // there may be none
	_ = os.Remove(key)  // likewise
	mustRun(tb, "tls", "cert", name, "--role", role, "--dir", k.Dir, "--ca", k.CA, "--ca-key", filepath.Join(k.Dir, "ca-key.pem"))
	return cert, key
}

// Args are the flags that close a node.
func (k *Keys) Args(tb testing.TB, name string) []string {
	tb.Helper()
	cert, key := k.Cert(tb, name, "node")
	return []string{
		"--tls-ca", k.CA, "--tls-cert", cert, "--tls-key", key,
		"--gossip-key-file", filepath.Join(k.Dir, "gossip-key"), "--admin-token-file", filepath.Join(k.Dir, "admin-token"),
	}
}

// Client returns a client that believes the authority, and with a name also
// shows that certificate.
func (k *Keys) Client(tb testing.TB, name string) *http.Client {
	tb.Helper()
	c := &tls.Config{RootCAs: k.Pool(tb)}
	if name != "" {
		own, err := tls.LoadX509KeyPair(filepath.Join(k.Dir, name+".pem"), filepath.Join(k.Dir, name+"-key.pem"))
		if err != nil {
			tb.Fatal(err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	t := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, TLSClientConfig: c}
	tb.Cleanup(t.CloseIdleConnections)
	return &http.Client{Timeout: 10 * time.Second, Transport: t, CheckRedirect: client.CheckRedirect}
}

// Pool returns the authority.
func (k *Keys) Pool(tb testing.TB) *x509.CertPool {
	tb.Helper()
	pem, err := os.ReadFile(k.CA)
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		tb.Fatal("no authority")
	}
	return pool
}

// Guard has every node of a cluster that does not run yet be closed with the
// keys, and its requests carry the admin's token.
func (c *Cluster) Guard(k *Keys) {
	c.tb.Helper()
	https := k.Client(c.tb, "")
	for _, n := range c.Nodes {
		n.Args = append(n.Args, k.Args(c.tb, n.ID)...)
		n.URL = "https://" + n.HTTP
		n.Client, n.Token = https, k.Token
	}
}

// StartClosed is Start of a cluster that is closed with new keys.
func StartClosed(tb testing.TB, n int) (*Cluster, *Keys) {
	tb.Helper()
	k, c := NewKeys(tb), New(tb, n)
	c.Guard(k)
	for i := range c.Nodes {
		c.Restart(i)
	}
	c.WaitReady()
	return c, k
}

func mustRun(tb testing.TB, args ...string) string {
	tb.Helper()
	out := Run(tb, 10*time.Second, args...)
	if out.Code != 0 {
		tb.Fatalf("quorate %v: exit code %d: %s", args, out.Code, out.Stderr)
	}
	return out.Stdout
}
