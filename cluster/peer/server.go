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

// Handler answers the requests of peers. Its methods may be called concurrently.
type Handler interface {
	// Check decides a check in the role of the route. With noWait it returns
	// ErrWouldWait instead of waiting, and is called again on a goroutine of its own.
	// The peer receives ErrBehind if the error wraps it, a NotOwnerError if it is one,
	// and ErrRefused for any other error.
	Check(ctx context.Context, route bucket.Route, q *bucket.Check, d *bucket.Decision, noWait bool) error
	// Call calls a method.
	Call(ctx context.Context, method byte, arg []byte) ([]byte, error)
}

// maxSlow bounds the requests of one connection that wait.
const maxSlow = 1024

// slowTimeout bounds how long a request may wait.
const slowTimeout = 10 * time.Second

// Server serves connections from peers.
type Server struct {
	handler Handler
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu; nil when closed
}

// NewServer returns a server for the handler.
func NewServer(h Handler) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{handler: h, ctx: ctx, cancel: cancel, conns: map[net.Conn]struct{}{}}
}

// Close closes all connections and waits for their goroutines.
func (s *Server) Close() {
	s.cancel()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wg.Wait()
}

// Serve serves a connection whose handshakes are complete, until it ends.
func (s *Server) Serve(conn net.Conn) {
	s.mu.Lock()
	if s.conns == nil {
		s.mu.Unlock()
		conn.Close()
		return
	}
	s.conns[conn] = struct{}{}
	s.wg.Add(2)
	s.mu.Unlock()
	out := newOutbox(conn)
	go func() { defer s.wg.Done(); out.run() }()
	defer func() {
		conn.Close()
		out.close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		s.wg.Done()
	}()
	s.read(conn, out)
}

func (s *Server) read(conn net.Conn, out *outbox) {
	version := versionOf(conn)
	in := bufio.NewReaderSize(conn, 64<<10)
	slow := make(chan struct{}, maxSlow)
	var buf []byte
	var q bucket.Check
	var d bucket.Decision
	for {
		k, id, payload, err := readFrame(in, buf)
		if err != nil {
			return
		}
		buf = payload[:0]
		if !speaks(version, k) {
			return // not in the version of this connection
		}
		switch k {
		case kindCheck:
			route, err := decodeCheck(payload, &q)
			if err == nil {
				err = s.check(s.ctx, out, id, route, &q, &d, true)
			}
			if errors.Is(err, ErrWouldWait) { // this goroutine must go on reading
				q := q
				s.slow(slow, out, id, func(ctx context.Context) error {
					return s.check(ctx, out, id, route, &q, &bucket.Decision{}, false)
				})
			} else if err != nil {
				s.fail(out, id, err)
			}
		case kindCall:
			if len(payload) == 0 {
				s.fail(out, id, fmt.Errorf("call without a method"))
				continue
			}
			method, arg := payload[0], append([]byte(nil), payload[1:]...)
			s.slow(slow, out, id, func(ctx context.Context) error { return s.call(ctx, out, id, method, arg) })
		}
	}
}

// slow runs fn on a goroutine of its own, unless maxSlow are running.
func (s *Server) slow(running chan struct{}, out *outbox, id uint64, fn func(ctx context.Context) error) {
	select {
	case running <- struct{}{}:
	default:
		s.fail(out, id, fmt.Errorf("too many requests wait"))
		return
	}
	s.wg.Add(1) // Serve holds a count, so the group is not at zero
	go func() {
		defer s.wg.Done()
		ctx, cancel := context.WithTimeout(s.ctx, slowTimeout)
		defer cancel()
		if err := fn(ctx); err != nil {
			s.fail(out, id, err)
		}
		<-running
	}()
}

func appendRoute(b []byte, route bucket.Route) []byte {
	return binary.BigEndian.AppendUint64(append(b, byte(route.Role)), route.Epoch)
}

func decodeCheck(b []byte, q *bucket.Check) (route bucket.Route, err error) {
	if len(b) < 9 || bucket.AskRole(b[0]) >= bucket.NumAskRoles {
		return route, errors.New("check in an unknown role")
	}
	route = bucket.Route{Role: bucket.AskRole(b[0]), Epoch: binary.BigEndian.Uint64(b[1:])}
	return route, codec.Unmarshal(b[9:], q)
}

func (s *Server) check(ctx context.Context, out *outbox, id uint64, route bucket.Route, q *bucket.Check, d *bucket.Decision, noWait bool) error {
	if err := s.handler.Check(ctx, route, q, d, noWait); err != nil {
		return err
	}
	// An error means that the connection has ended, which its reader notices too.
	_ = out.add(kindDone, id, func(b []byte) ([]byte, error) { return codec.Append(b, d) })
	return nil
}

func (s *Server) call(ctx context.Context, out *outbox, id uint64, method byte, arg []byte) error {
	result, err := s.handler.Call(ctx, method, arg)
	if err != nil {
		return err
	}
	_ = out.add(kindDone, id, func(b []byte) ([]byte, error) { return append(b, result...), nil })
	return nil
}

func (s *Server) fail(out *outbox, id uint64, err error) {
	_ = out.add(kindFailed, id, func(b []byte) ([]byte, error) { return appendFailure(b, err), nil })
}
