package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorate/cmd/node"
)

func mustAuthority(t testing.TB, now time.Time) (pair, *authority) {
	t.Helper()
	p, err := newAuthority("test", 30, now)
	if err != nil {
		t.Fatal(err)
	}
	a, err := readAuthority(p)
	if err != nil {
		t.Fatal(err)
	}
	return p, a
}

func mustCert(t testing.TB, a *authority, o certRequest, now time.Time) pair {
	t.Helper()
	p, err := a.certificate(o, now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func parsed(t testing.TB, p []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(p)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCertificates(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ca, a := mustAuthority(t, now)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.cert)
	hosts := []string{"n1.example.com", "10.0.0.1"}
	for _, o := range []certRequest{{"n1", roleNode, hosts, 10}, {"gate", roleClient, hosts, 10}} {
		c := parsed(t, mustCert(t, a, o, now).cert)
		isNode := o.role == roleNode
		for _, tt := range []struct {
			name  string
			usage x509.ExtKeyUsage
			at    time.Time
			ok    bool
		}{
			{"n1.example.com", x509.ExtKeyUsageClientAuth, now, true},
			{"n1.example.com", x509.ExtKeyUsageServerAuth, now, isNode},
			{"10.0.0.1", x509.ExtKeyUsageServerAuth, now, isNode},
			{"localhost", x509.ExtKeyUsageServerAuth, now, isNode},
			{"127.0.0.1", x509.ExtKeyUsageServerAuth, now, isNode},
			{"n2.example.com", x509.ExtKeyUsageServerAuth, now, false},
			{node.NodeName, x509.ExtKeyUsageClientAuth, now, isNode},
			{node.ClientName, x509.ExtKeyUsageClientAuth, now, !isNode},
			{"n1.example.com", x509.ExtKeyUsageClientAuth, now.Add(-backdate), true},
			{"n1.example.com", x509.ExtKeyUsageClientAuth, now.Add(-backdate - time.Second), false},
			{"n1.example.com", x509.ExtKeyUsageClientAuth, now.AddDate(0, 0, 10), true},
			{"n1.example.com", x509.ExtKeyUsageClientAuth, now.AddDate(0, 0, 10).Add(time.Second), false},
		} {
			_, err := c.Verify(x509.VerifyOptions{DNSName: tt.name, Roots: roots, CurrentTime: tt.at, KeyUsages: []x509.ExtKeyUsage{tt.usage}})
			if (err == nil) != tt.ok {
				t.Errorf("%s as %s, usage %d at %v: %v", o.name, tt.name, tt.usage, tt.at, err)
			}
		}
		if c.IsCA || c.PublicKeyAlgorithm != x509.ECDSA {
			t.Errorf("%s: authority %v, %v", o.name, c.IsCA, c.PublicKeyAlgorithm)
		}
	}
	// A certificate vouches for no other.
	leaf := mustCert(t, a, certRequest{"n1", roleNode, nil, 10}, now)
	if _, err := readAuthority(leaf); err == nil {
		t.Error("a node's certificate was taken for an authority")
	}
	other, _ := mustAuthority(t, now)
	if _, err := readAuthority(pair{ca.cert, other.key}); err == nil {
		t.Error("an authority with another's key")
	}
	for _, o := range []certRequest{
		{"n1", roleClient, []string{node.NodeName}, 10},
		{"n1", roleClient, []string{"Node.Quorate.Internal"}, 10},
		{"n1", roleClient, []string{"*.quorate.internal"}, 10},
		{"n1", roleNode, []string{"n1:8081"}, 10},
		{"n1", roleNode, []string{""}, 10},
		{"n1", roleNode, nil, 31}, // outlives the authority
	} {
		if _, err := a.certificate(o, now); err == nil {
			t.Errorf("%+v was made", o)
		}
	}
}

// A node does not start with what other nodes would refuse.
func TestNodeRefusesCertificates(t *testing.T) {
	now := time.Now()
	ca, a := mustAuthority(t, now)
	_, stranger := mustAuthority(t, now)
	good := mustCert(t, a, certRequest{"n1", roleNode, nil, 10}, now)
	oldCA, old := mustAuthority(t, now.AddDate(0, 0, -20))
	for name, tt := range map[string]struct {
		ca   []byte
		own  pair
		want string
	}{
		"a client's":            {ca.cert, mustCert(t, a, certRequest{"n1", roleClient, []string{"n1"}, 10}, now), "--role node"},
		"of another authority":  {ca.cert, mustCert(t, stranger, certRequest{"n1", roleNode, nil, 10}, now), "--role node"},
		"expired":               {oldCA.cert, mustCert(t, old, certRequest{"n1", roleNode, nil, 10}, now.AddDate(0, 0, -20)), "expired"},
		"another's key":         {ca.cert, pair{good.cert, oldCA.key}, "--tls-key"},
		"no certificate":        {ca.cert, pair{[]byte("x"), good.key}, "--tls-cert"},
		"no authority":          {[]byte("x"), good, "--tls-ca"},
		"an authority's as its": {ca.cert, ca, "--role node"},
	} {
		dir := t.TempDir()
		write := func(file string, b []byte) string {
			path := filepath.Join(dir, file)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		cfg := node.DefaultConfig()
		cfg.NodeID, cfg.DataDir, cfg.BootstrapExpect = "n1", filepath.Join(dir, "data"), 1
		cfg.TLSCA, cfg.TLSCert, cfg.TLSKey = write("ca", tt.ca), write("cert", tt.own.cert), write("key", tt.own.key)
		_, err := node.Open(context.Background(), cfg, "test", slog.New(slog.DiscardHandler))
		if !errors.Is(err, node.ErrConfig) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want it to name %s", name, err, tt.want)
		}
	}
}
