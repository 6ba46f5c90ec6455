package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

// handshakeTimeout bounds a TLS handshake between nodes.
const handshakeTimeout = 3 * time.Second

// TLS is the TLS configuration of the peer port. Both configurations must verify that
// the other side is a node: a certificate of the same authority is not enough. A nil
// *TLS is plain TCP.
type TLS struct {
	Server *tls.Config        // with GetConfigForClient if it is to be reloaded
	Client func() *tls.Config // called for each connection
}

// server completes the handshake of an accepted connection. It closes conn on error.
func (t *TLS) server(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if t == nil {
		return conn, nil
	}
	return handshake(ctx, tls.Server(conn, t.Server))
}

// client completes the handshake of a dialled connection. It closes conn on error.
func (t *TLS) client(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if t == nil {
		return conn, nil
	}
	return handshake(ctx, tls.Client(conn, t.Client()))
}

func handshake(ctx context.Context, conn *tls.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the error of the handshake is returned
		return nil, fmt.Errorf("tls: %w", err)
	}
	return conn, nil
}
