package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"quorate/limiter/bucket"
	"quorate/limiter/codec"
)

// dialTimeout bounds a dial and the handshakes before the first request. The dial
// function itself bounds how long the connection may take to be established.
const dialTimeout = 3 * time.Second

// redial is the pause after a failed dial. Requests during the pause fail at once.
const redial = 50 * time.Millisecond

// Client sends requests to one peer. Its methods may be called concurrently.
type Client struct {
	dial func(ctx context.Context) (net.Conn, error)
	wg   sync.WaitGroup

	mu      sync.Mutex
	conn    *clientConn   // nil: none; guarded by mu
	dialing chan struct{} // not nil during a dial, closed at its end; guarded by mu
	failed  time.Time     // of the last dial that failed; guarded by mu
	err     error         // its error; guarded by mu
	closed  bool          // guarded by mu
}

// NewClient returns a client that connects with dial at its first request. The
// handshakes are complete on the connection that dial returns.
func NewClient(dial func(ctx context.Context) (net.Conn, error)) *Client {
	return &Client{dial: dial}
}

// Close ends the connection and waits for the client's goroutines. Pending requests
// fail with ErrLost.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	if c.conn != nil {
		c.conn.conn.Close()
		c.conn.out.close()
	}
	c.mu.Unlock()
	c.wg.Wait()
}

// Beat must be called at regular intervals. If requests are pending and no answer has
// come for that many beats, the client gives the connection up: pending requests fail
// with ErrLost, and the next request dials. The kernel does not give it up: it sends
// lost bytes again after intervals that double, up to minutes after a cut link is back.
// Beats are counted instead of time, because this process may have been suspended.
func (c *Client) Beat(beats int) {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn != nil && conn.silent(beats) {
		// Close could wait for a write in progress. The reader ends the connection.
		_ = conn.conn.SetReadDeadline(time.Unix(1, 0)) // fails if the connection has ended
	}
}

// Check asks the peer to decide a check in the role of the route.
func (c *Client) Check(ctx context.Context, route bucket.Route, q *bucket.Check, d *bucket.Decision) error {
	reply, err := c.do(ctx, kindCheck, func(b []byte) ([]byte, error) { return codec.Append(appendRoute(b, route), q) })
	if err != nil {
		return err
	}
	defer reply.free()
	return codec.Unmarshal(reply.payload, d)
}

// Call calls a method of the peer and returns the result.
func (c *Client) Call(ctx context.Context, method byte, arg []byte) ([]byte, error) {
	reply, err := c.do(ctx, kindCall, func(b []byte) ([]byte, error) {
		return append(append(b, method), arg...), nil
	})
	if err != nil {
		return nil, err
	}
	out := append([]byte(nil), reply.payload...)
	reply.free()
	return out, nil
}

// call is one pending request.
type call struct {
	done    chan error // capacity 1
	payload []byte
}

var calls = sync.Pool{New: func() any { return &call{done: make(chan error, 1)} }}

func (c *call) free() { calls.Put(c) }

func (c *Client) do(ctx context.Context, k kind, fill func([]byte) ([]byte, error)) (*call, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	if !speaks(conn.version, k) {
		return nil, fmt.Errorf("%w: the node speaks version %d of the protocol, which has no such request", ErrNotSent, conn.version)
	}
	q := calls.Get().(*call)
	id, ok := conn.register(q)
	if !ok {
		q.free()
		return nil, fmt.Errorf("%w: connection closed", ErrNotSent)
	}
	if err := conn.out.add(k, id, fill); err != nil {
		if !conn.forget(id) {
			<-q.done // the reader has taken the call and is about to end it
		}
		q.free()
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	select {
	case err = <-q.done:
	case <-ctx.Done():
		if conn.forget(id) {
			err = fmt.Errorf("%w: %w", ErrLost, ctx.Err())
		} else {
			err = <-q.done
		}
	}
	if err != nil {
		q.free()
		return nil, err
	}
	return q, nil
}

// connect returns the connection, and dials if there is none. Calls during a dial wait
// for its end.
func (c *Client) connect(ctx context.Context) (*clientConn, error) {
	for {
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return nil, net.ErrClosed
		case c.conn != nil:
			conn := c.conn
			c.mu.Unlock()
			return conn, nil
		case c.err != nil && time.Since(c.failed) < redial:
			err := c.err
			c.mu.Unlock()
			return nil, err
		}
		if c.dialing == nil {
			c.dialing = make(chan struct{})
			c.wg.Add(1)
			go c.dialOnce()
		}
		wait := c.dialing
		c.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *Client) dialOnce() {
	defer c.wg.Done()
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	conn, err := c.dial(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.dialing)
	c.dialing = nil
	if err == nil && c.closed {
		conn.Close()
		return
	}
	if c.err = err; err != nil {
		c.failed = time.Now()
		return
	}
	c.conn = &clientConn{conn: conn, version: versionOf(conn), out: newOutbox(conn), calls: map[uint64]*call{}}
	c.wg.Add(2)
	go func(out *outbox) { defer c.wg.Done(); out.run() }(c.conn.out)
	go c.read(c.conn)
}

// read delivers answers until the connection ends, then fails the pending requests.
func (c *Client) read(conn *clientConn) {
	defer c.wg.Done()
	in := bufio.NewReaderSize(conn.conn, 64<<10)
	var buf []byte
	for {
		k, id, payload, err := readFrame(in, buf)
		if err != nil {
			break
		}
		buf = payload[:0]
		conn.finish(k, id, payload)
	}
	c.mu.Lock()
	if c.conn == conn {
		c.conn = nil
	}
	c.mu.Unlock()
	conn.conn.Close()
	conn.out.close()
	conn.failAll()
}

type clientConn struct {
	conn    net.Conn
	version uint64 // of the protocol
	out     *outbox

	mu    sync.Mutex
	last  uint64           // guarded by mu
	calls map[uint64]*call // nil once the connection has ended; guarded by mu
	quiet int              // beats without an answer while requests were pending; guarded by mu
}

// silent counts a beat, and reports whether the given number of beats has passed
// without an answer.
func (c *clientConn) silent(beats int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) > 0 {
		c.quiet++
	}
	return c.quiet >= beats
}

func (c *clientConn) register(q *call) (id uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		return 0, false
	}
	c.last++
	c.calls[c.last] = q
	return c.last, true
}

// forget removes a pending request. It returns false if the answer is being delivered.
func (c *clientConn) forget(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.calls[id]
	delete(c.calls, id)
	return ok
}

func (c *clientConn) finish(k kind, id uint64, payload []byte) {
	c.mu.Lock()
	q := c.calls[id]
	delete(c.calls, id)
	c.quiet = 0
	c.mu.Unlock()
	if q == nil {
		return // the caller has given up
	}
	if k == kindDone {
		q.payload = append(q.payload[:0], payload...)
		q.done <- nil
		return
	}
	q.done <- decodeFailure(payload)
}

func (c *clientConn) failAll() {
	c.mu.Lock()
	left := c.calls
	c.calls = nil
	c.mu.Unlock()
	for _, q := range left {
		q.done <- fmt.Errorf("%w: connection lost", ErrLost)
	}
}

// The codes of kindFailed.
const (
	codeRefused byte = iota
	codeBehind
	codeNotOwner // and an epoch (8 bytes)
)

func appendFailure(b []byte, err error) []byte {
	code := codeRefused
	var not *NotOwnerError
	switch {
	case errors.Is(err, ErrBehind):
		code = codeBehind
	case errors.As(err, &not):
		return binary.BigEndian.AppendUint64(append(b, codeNotOwner), not.Epoch)
	}
	text := err.Error()
	return append(append(b, code), text[:min(len(text), 512)]...)
}

func decodeFailure(b []byte) error {
	if len(b) == 0 {
		return ErrRefused
	}
	switch {
	case b[0] == codeBehind:
		return ErrBehind
	case b[0] == codeNotOwner && len(b) == 9:
		return &NotOwnerError{Epoch: binary.BigEndian.Uint64(b[1:])}
	}
	return fmt.Errorf("%w: %s", ErrRefused, b[1:])
}
