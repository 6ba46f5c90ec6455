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

// dialTimeout bounds a dial with all that is said before the first request; how
// long the other side may take to accept is for who dials.
const dialTimeout = 3 * time.Second

// redial is how long after a failed dial the next one is tried; requests in
// between fail at once.
const redial = 50 * time.Millisecond

// Client asks one peer. Its methods may overlap.
type Client struct {
	dial func(ctx context.Context) (net.Conn, error)
	wg   sync.WaitGroup

	mu      sync.Mutex
	conn    *clientConn   // nil: none; guarded by mu
	dialing chan struct{} // not nil while a dial is under way; guarded by mu
	failed  time.Time     // of the last dial that failed; guarded by mu
	err     error         // its error; guarded by mu
	closed  bool          // guarded by mu
}

// NewClient returns a client that connects by dial when it is first asked. Both
// sides have greeted on what dial returns.
func NewClient(dial func(ctx context.Context) (net.Conn, error)) *Client {
	return &Client{dial: dial}
}

// Close ends the connection; requests under way get ErrLost. It waits for the
// client's goroutines.
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

// Beat is to be called at a steady pace. A connection that owes answers and has
// brought none for so many beats is given up; requests under way get ErrLost, the
// next one dials. The kernel does not do it: what a cut link has swallowed it sends
// again after twice as long each time, up to minutes after the link is back. Beats
// are counted, and not time, since this process may have stood still.
func (c *Client) Beat(patience int) {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn != nil && conn.silent(patience) {
		// Close may wait for what is being written. The reader ends the connection.
		_ = conn.conn.SetReadDeadline(time.Unix(1, 0)) // fails where it has ended
	}
}

// Check has the peer decide as it is asked.
func (c *Client) Check(ctx context.Context, route bucket.Route, q *bucket.Check, d *bucket.Decision) error {
	reply, err := c.do(ctx, kindCheck, func(b []byte) ([]byte, error) { return codec.Append(appendRoute(b, route), q) })
	if err != nil {
		return err
	}
	defer reply.free()
	return codec.Unmarshal(reply.payload, d)
}

// Call has the peer run a method on an argument.
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

// call is one request under way.
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
			<-q.done // the reader has it already and is about to end it
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

// connect returns the live connection, dialling if there is none. Those who
// come while a dial is under way wait for it.
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

// read delivers answers until the connection ends, then fails what is left.
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
	quiet int              // beats without an answer while some were owed; guarded by mu
}

// silent counts a beat, and reports whether there were as many as one may wait.
func (c *clientConn) silent(patience int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) > 0 {
		c.quiet++
	}
	return c.quiet >= patience
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

// forget takes the request back; false when its answer is being delivered.
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
		return // its caller has given up
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
