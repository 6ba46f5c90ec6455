package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"quorate/cmd/node"
)

// backdated is how long before its making a certificate is valid, for clocks
// that are behind.
const backdated = time.Hour

// role is what a certificate's holder is.
type role string

const (
	roleNode   role = "node"   // serves the API, and speaks to other nodes
	roleClient role = "client" // asks the API, where it wants certificates
)

// certOrder says what certificate is wanted.
type certOrder struct {
	name  string // the common name
	role  role
	hosts []string // names and addresses that it is for
	days  int
}

// pair is a certificate and its key in PEM.
type pair struct{ cert, key []byte }

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// newAuthority makes an authority that believes in itself.
func newAuthority(name string, days int, now time.Time) (pair, error) {
	t := &x509.Certificate{
		Subject:  pkix.Name{CommonName: name},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	return sign(t, days, now, nil)
}

// certificate makes a certificate that the authority vouches for.
func (a *authority) certificate(o certOrder, now time.Time) (pair, error) {
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: o.name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{node.ClientName},
	}
	hosts := o.hosts
	if o.role == roleNode {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		t.DNSNames = []string{node.NodeName}
		hosts = append([]string{"localhost", "127.0.0.1", "::1"}, hosts...) // health checks and tunnels
	}
	for _, h := range hosts {
		switch ip := net.ParseIP(h); {
		case ip != nil:
			t.IPAddresses = append(t.IPAddresses, ip)
		case strings.EqualFold(h, node.NodeName) || strings.EqualFold(h, node.ClientName) || strings.HasPrefix(h, "*."+node.NodeName[len("node."):]):
			return pair{}, fmt.Errorf("--host %s: that name says what the holder is; --role does", h)
		case h == "" || strings.ContainsAny(h, ":/ "):
			return pair{}, fmt.Errorf("--host %q: want a name or an address, without a port", h)
		default:
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return sign(t, o.days, now, a)
}

// sign completes a certificate and signs it; without an authority by itself.
func sign(t *x509.Certificate, days int, now time.Time, by *authority) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("make key: %w", err)
	}
	t.NotBefore, t.NotAfter = now.Add(-backdated), now.AddDate(0, 0, days)
	parent, signer := t, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
		if t.NotAfter.After(parent.NotAfter) {
			return pair{}, fmt.Errorf("--days %d: the authority itself ends on %s", days, parent.NotAfter.Format(time.DateOnly))
		}
	}
	// Without a serial number one is made at random.
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	if err != nil {
		return pair{}, fmt.Errorf("sign certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, fmt.Errorf("encode key: %w", err)
	}
	return pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}, nil
}

// readAuthority reads what newAuthority made.
func readAuthority(p pair) (*authority, error) {
	c, _ := pem.Decode(p.cert)
	k, _ := pem.Decode(p.key)
	if c == nil || k == nil {
		return nil, errors.New("want a certificate and its key in PEM")
	}
	cert, err := x509.ParseCertificate(c.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(k.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil || !cert.IsCA || !bytes.Equal(public, cert.RawSubjectPublicKeyInfo) {
		return nil, errors.New("the certificate is no authority's, or the key is another's")
	}
	return &authority{cert, key}, nil
}
