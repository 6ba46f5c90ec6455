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

// backdate is how long before its creation a certificate becomes valid, for hosts whose
// clock is behind.
const backdate = time.Hour

// role is the role of a certificate's holder.
type role string

const (
	roleNode   role = "node"   // serves the API and connects to other nodes
	roleClient role = "client" // uses an API that requires client certificates
)

// certRequest describes a certificate to create.
type certRequest struct {
	name  string // the common name
	role  role
	hosts []string // its names and addresses
	days  int
}

// pair is a certificate and its private key, in PEM.
type pair struct{ cert, key []byte }

// authority is a CA.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// newAuthority creates a self-signed CA.
func newAuthority(name string, days int, now time.Time) (pair, error) {
	t := &x509.Certificate{
		Subject:  pkix.Name{CommonName: name},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	return sign(t, days, now, nil)
}

// certificate creates a certificate signed by the authority.
func (a *authority) certificate(o certRequest, now time.Time) (pair, error) {
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

// sign completes a certificate and signs it with the authority, or with its own key if
// there is none.
func sign(t *x509.Certificate, days int, now time.Time, by *authority) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("make key: %w", err)
	}
	t.NotBefore, t.NotAfter = now.Add(-backdate), now.AddDate(0, 0, days)
	parent, signer := t, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
		if t.NotAfter.After(parent.NotAfter) {
			return pair{}, fmt.Errorf("--days %d: the CA itself ends on %s", days, parent.NotAfter.Format(time.DateOnly))
		}
	}
	// CreateCertificate generates a random serial number if the template has none.
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

// readAuthority parses a pair that newAuthority has created.
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
		return nil, errors.New("the certificate is not that of a CA, or the key does not belong to it")
	}
	return &authority{cert, key}, nil
}
