package rest

import (
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"quorate/api/wire"
	"quorate/fsm/ledger"
)

// The limits of reading on after a request was refused.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 8 << 20
)

// The limits of answering connections above MaxConns. When maxRefusing answers are in
// progress, further connections are closed without an answer.
const (
	refuseTime  = time.Second // for one answer
	maxRefusing = 64
)

// listener accepts at most max connections, each a *conn, and refuses further ones
// with an answer.
type listener struct {
	net.Listener
	max    int64
	answer func() []byte // to a refused connection

	open     atomic.Int64
	refusing chan struct{}
	wg       sync.WaitGroup
}

func newListener(l net.Listener, max int, answer func() []byte) *listener {
	return &listener{Listener: l, max: int64(max), answer: answer, refusing: make(chan struct{}, maxRefusing)}
}

// Accept returns the next connection below the limit.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.max {
			return &conn{Conn: c, done: func() { l.open.Add(-1) }}, nil
		}
		l.open.Add(-1)
		select {
		case l.refusing <- struct{}{}:
			l.wg.Add(1)
			go l.refuse(c)
		default:
			_ = c.Close() // the error does not matter: nothing was sent
		}
	}
}

func (l *listener) refuse(c net.Conn) {
	defer l.wg.Done()
	defer func() { <-l.refusing }()
	lingering := &conn{Conn: c}
	lingering.linger.Store(true)
	if c.SetDeadline(time.Now().Add(refuseTime)) == nil {
		_, _ = c.Write(l.answer()) // the client may have disconnected
	}
	_ = lingering.Close() // the client may have disconnected
}

// wait waits for the refusals in progress. Accept must have returned an error.
func (l *listener) wait() { l.wg.Wait() }

// tooManyConns returns the answer to a connection above MaxConns.
func (s *Server) tooManyConns() []byte {
	p := problemOf(ledger.ErrOverloaded)
	p.Detail = "this node has reached its limit of connections; try another node, or retry later"
	body := p.Append(nil)
	head := "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: " + wire.TypeProblem +
		"\r\nCache-Control: no-store\r\n" + wire.HeaderRetryAfter + ": " + strconv.Itoa(overloadedSeconds) +
		"\r\n" + wire.HeaderIndex + ": " + strconv.FormatUint(s.cfg.View.Index(), 10) +
		"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return append([]byte(head), body...)
}

// conn is a connection that lingers: if a request was refused before it was read
// completely, Close reads on for a moment. Closing with unread bytes resets the
// connection, and the client may lose the answer.
type conn struct {
	net.Conn
	linger atomic.Bool // set before the answer is written
	closed atomic.Bool
	done   func() // called by the first Close, unless nil
}

func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	if c.done != nil {
		defer c.done()
	}
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger.Load() {
		if w.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
			// Ignore the result: only the reading matters.
			_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
		}
	}
	return c.Conn.Close()
}
