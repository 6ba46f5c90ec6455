package rest

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// How long and how much of a refused request is still read.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 8 << 20
)

// listener hands out connections that can linger.
type listener struct{ net.Listener }

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// conn reads on for a moment before it closes where a request was refused half
// read: a close with bytes unread resets the connection, and the client may
// lose the answer that says why.
type conn struct {
	net.Conn
	linger atomic.Bool // set before the answer is written
}

func (c *conn) Close() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger.Load() {
		if w.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
			// What is read, or why it ends, matters to no one.
			_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
		}
	}
	return c.Conn.Close()
}
