package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"quorate/cluster/transport"
)

// What a certificate says its holder is, as one of its DNS names. Only a node
// may speak on the peer port.
const (
	NodeName   = "node.quorate.internal"
	ClientName = "client.quorate.internal"
)

// certificates are what this node shows and whom it believes. They can be
// replaced while connections are made; those that were made stay.
type certificates struct {
	clientAuth bool // clients of the API show one too
	now        func() time.Time
	current    atomic.Pointer[material]
}

// material is everything made of one set of files. It is never changed.
type material struct {
	http, server, client *tls.Config
	expires              time.Time
}

// load takes over an authority, a certificate and its key, all PEM. An error
// leaves those in force.
func (c *certificates) load(ca, cert, key []byte) error {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return errors.New("--tls-ca: there is no certificate in the file, want one in PEM")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	if err := c.checkNode(pool, pair); err != nil {
		return fmt.Errorf("--tls-cert: %w; make one with `quorate tls cert --role node`", err)
	}
	c.current.Store(newMaterial(pool, pair, c.clientAuth))
	return nil
}

// checkNode reports what another node would hold against the certificate.
func (c *certificates) checkNode(pool *x509.CertPool, pair tls.Certificate) error {
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if more, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(more)
		}
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{
			DNSName: NodeName, Roots: pool, Intermediates: between, CurrentTime: c.now(), KeyUsages: []x509.ExtKeyUsage{usage},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func newMaterial(pool *x509.CertPool, pair tls.Certificate, clientAuth bool) *material {
	certs := []tls.Certificate{pair}
	m := &material{expires: pair.Leaf.NotAfter}
	m.http = &tls.Config{Certificates: certs, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, ClientCAs: pool}
	if clientAuth {
		m.http.ClientAuth = tls.RequireAndVerifyClientCert
		m.http.SessionTicketsDisabled = true // a session must not outlive its authority
	}
	m.server = &tls.Config{
		Certificates: certs, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, VerifyConnection: isNode,
	}
	m.client = &tls.Config{Certificates: certs, MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: NodeName}
	return m
}

// isNode refuses who is known to the authority but no node.
func isNode(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("no certificate")
	}
	leaf := s.PeerCertificates[0]
	if err := leaf.VerifyHostname(NodeName); err != nil {
		return fmt.Errorf("the certificate of %q is not a node's: %w", leaf.Subject.CommonName, err)
	}
	return nil
}

// api is for the HTTP server.
func (c *certificates) api() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load().http, nil },
	}
}

// peers is for the peer port; nil without certificates.
func (c *certificates) peers() *transport.TLS {
	if c == nil {
		return nil
	}
	return &transport.TLS{
		Server: &tls.Config{
			MinVersion:         tls.VersionTLS13,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load().server, nil },
		},
		Client: func() *tls.Config { return c.current.Load().client },
	}
}
