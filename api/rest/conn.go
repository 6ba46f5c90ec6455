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

// How long and how much of a refused request is still read.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 8 << 20
)

// What a connection too many gets: its answer within this time, while not more
// than so many of them are being answered; others are closed at once.
const (
	refuseTime  = time.Second
	maxRefusing = 64
)

// listener hands out connections that can linger, and refuses those beyond its
// bound with an answer that says so.
type listener struct {
	net.Listener
	most   int64
	answer func() []byte // to a connection too many

	open     atomic.Int64
	refusing chan struct{}
	wg       sync.WaitGroup
}

func newListener(l net.Listener, most int, answer func() []byte) *listener {
	return &listener{Listener: l, most: int64(most), answer: answer, refusing: make(chan struct{}, maxRefusing)}
}

// Accept returns the next connection that there is room for.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &conn{Conn: c, done: func() { l.open.Add(-1) }}, nil
		}
		l.open.Add(-1)
		select {
		case l.refusing <- struct{}{}:
			l.wg.Add(1)
			go l.refuse(c)
		default:
			_ = c.Close() // nothing was sent
		}
	}
}

func (l *listener) refuse(c net.Conn) {
	defer l.wg.Done()
	defer func() { <-l.refusing }()
	polite := &conn{Conn: c}
	polite.linger.Store(true)
	if c.SetDeadline(time.Now().Add(refuseTime)) == nil {
		_, _ = c.Write(l.answer()) // the client may be gone
	}
	_ = polite.Close() // likewise
}

// wait returns when nobody is being refused any more. Accept must have ended.
func (l *listener) wait() { l.wg.Wait() }

// tooMany is the answer to a connection too many.
func (s *Server) tooMany() []byte {
	p := problemOf(ledger.ErrOverloaded)
	p.Detail = "this node has as many connections as it may; try another, or again later"
	body := p.Append(nil)
	head := "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: " + wire.TypeProblem +
		"\r\nCache-Control: no-store\r\n" + wire.HeaderRetryAfter + ": " + strconv.Itoa(overloadedSeconds) +
		"\r\n" + wire.HeaderIndex + ": " + strconv.FormatUint(s.cfg.View.Index(), 10) +
		"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return append([]byte(head), body...)
}

// conn reads on for a moment before it closes where a request was refused half
// read: a close with bytes unread resets the connection, and the client may
// lose the answer that says why.
type conn struct {
	net.Conn
	linger atomic.Bool // set before the answer is written
	closed atomic.Bool
	done   func() // called by the first Close; nil: nothing
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
			// What is read, or why it ends, matters to no one.
			_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
		}
	}
	return c.Conn.Close()
}
