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

// The role of a certificate's holder is one of its DNS names. Only a node may use the
// peer port.
const (
	NodeName   = "node.quorate.internal"
	ClientName = "client.quorate.internal"
)

// certificates are the certificate of this node and the authorities that it trusts.
// Loading new ones affects new connections only.
type certificates struct {
	clientAuth bool // clients of the API must present one too
	now        func() time.Time
	current    atomic.Pointer[tlsConfigs]
}

// tlsConfigs are the configurations made of one set of files. They are not modified.
type tlsConfigs struct {
	http, server, client *tls.Config
	expires              time.Time
}

// load puts an authority, a certificate and its key in force, all in PEM. On an error
// the previous ones remain in force.
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
	c.current.Store(newTLSConfigs(pool, pair, c.clientAuth))
	return nil
}

// checkNode verifies the certificate as another node would.
func (c *certificates) checkNode(pool *x509.CertPool, pair tls.Certificate) error {
	intermediates := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if more, err := x509.ParseCertificate(der); err == nil {
			intermediates.AddCert(more)
		}
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{
			DNSName: NodeName, Roots: pool, Intermediates: intermediates, CurrentTime: c.now(), KeyUsages: []x509.ExtKeyUsage{usage},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func newTLSConfigs(pool *x509.CertPool, pair tls.Certificate, clientAuth bool) *tlsConfigs {
	certs := []tls.Certificate{pair}
	m := &tlsConfigs{expires: pair.Leaf.NotAfter}
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

// isNode returns an error if the verified peer is not a node.
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

// api returns the configuration of the HTTP server.
func (c *certificates) api() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load().http, nil },
	}
}

// peers returns the configuration of the peer port, nil without certificates.
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
