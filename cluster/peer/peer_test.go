package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"quorate/limiter/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type echo struct{ hold chan struct{} }

func (e echo) Check(_ context.Context, _ bucket.Route, q *bucket.Check, d *bucket.Decision, once bool) error {
	switch q.Account {
	case "elsewhere":
		return fmt.Errorf("moved: %w", &NotOwnerError{Epoch: 1 << 40})
	case "slow":
		if once {
			return ErrWouldWait
		}
	case "behind":
		return fmt.Errorf("late: %w", ErrBehind)
	case "refuse":
		return errors.New("no")
	}
	*d = bucket.Decision{Category: q.Account, SpendNeeded: q.Tokens, Hit: -1}
	return nil
}

func (e echo) Call(ctx context.Context, method byte, arg []byte) ([]byte, error) {
	if method == 9 {
		select {
		case <-e.hold:
		case <-ctx.Done():
		}
	}
	return append([]byte{method}, arg...), nil
}

// start returns a client of a server on loopback, and what kills its
// connections.
func start(t *testing.T, h Handler) (*Client, func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(h)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				s.Serve(conn)
			})
		}
	})
	c := NewClient(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	})
	t.Cleanup(func() { c.Close(); ln.Close(); s.Close(); wg.Wait() })
	return c, func() {
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range conns {
			conn.Close()
		}
	}
}

func TestManyChecksShareOneConnection(t *testing.T) {
	c, _ := start(t, echo{})
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			var d bucket.Decision
			for i := range 200 {
				want := int64(g*1000 + i)
				name := fmt.Sprintf("a%d", want)
				if err := c.Check(context.Background(), bucket.Route{}, &bucket.Check{Account: name, Tokens: want}, &d); err != nil {
					t.Error(err)
				} else if d.Category != name || d.SpendNeeded != want {
					t.Errorf("asked %s, got the answer of %s", name, d.Category)
				}
			}
		})
	}
	wg.Wait()
}

func TestErrorsSayWhatBecameOfTheRequest(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	c, cut := start(t, echo{hold})
	var d bucket.Decision
	if err := c.Check(t.Context(), bucket.Route{}, &bucket.Check{Account: "behind"}, &d); !errors.Is(err, ErrBehind) {
		t.Errorf("behind: %v", err)
	}
	if err := c.Check(t.Context(), bucket.Route{}, &bucket.Check{Account: "refuse"}, &d); !errors.Is(err, ErrRefused) {
		t.Errorf("refuse: %v", err)
	}
	var not *NotOwnerError
	if err := c.Check(t.Context(), bucket.Route{}, &bucket.Check{Account: "elsewhere"}, &d); !errors.As(err, &not) || not.Epoch != 1<<40 || !errors.Is(err, ErrNotOwner) {
		t.Errorf("elsewhere: %v", err)
	}
	if err := c.Check(t.Context(), bucket.Route{Role: bucket.AsFallback}, &bucket.Check{Account: "slow"}, &d); err != nil || d.Category != "slow" {
		t.Errorf("slow: %v", err)
	}
	if err := c.Check(t.Context(), bucket.Route{Role: bucket.NumAskRoles}, &bucket.Check{Account: "a"}, &d); !errors.Is(err, ErrRefused) {
		t.Errorf("in no part: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Call(ctx, 9, nil); !errors.Is(err, ErrLost) {
		t.Errorf("no answer in time: %v", err)
	}
	lost := make(chan error, 1)
	go func() { _, err := c.Call(context.Background(), 9, nil); lost <- err }()
	for {
		c.mu.Lock()
		conn := c.conn
		c.mu.Unlock()
		conn.mu.Lock()
		waiting := len(conn.calls)
		conn.mu.Unlock()
		if waiting > 0 {
			break
		}
	}
	cut()
	if err := <-lost; !errors.Is(err, ErrLost) {
		t.Errorf("connection cut: %v", err)
	}
	// It connects anew by itself.
	for i := 0; ; i++ {
		out, err := c.Call(t.Context(), 3, []byte("hi"))
		if err == nil && bytes.Equal(out, []byte("\x03hi")) {
			break
		}
		if i > 1_000_000 {
			t.Fatalf("never came back: %v", err)
		}
	}
}

func TestNobodyListensIsNotSent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	c := NewClient(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	})
	defer c.Close()
	if _, err := c.Call(t.Context(), 1, nil); !errors.Is(err, ErrNotSent) {
		t.Fatalf("err = %v, want not sent", err)
	}
}

// Bytes that are no frames end their connection and no other.
// swallow returns a connection on which all that is written is read, and nothing
// is answered; got has a token for each read.
func swallow(t *testing.T) (conn net.Conn, got <-chan struct{}) {
	conn, other := net.Pipe()
	read, done := make(chan struct{}, 64), make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 1<<10); ; {
			if _, err := other.Read(buf); err != nil {
				return
			}
			read <- struct{}{}
		}
	}()
	t.Cleanup(func() { other.Close(); <-done })
	return conn, read
}

func TestASilentConnectionIsGivenUp(t *testing.T) {
	c, _ := start(t, echo{})
	alive := c.dial
	mute, got := swallow(t)
	dials := 0 // of one goroutine at a time
	c.dial = func(ctx context.Context) (net.Conn, error) {
		if dials++; dials == 1 {
			return mute, nil
		}
		return alive(ctx)
	}
	const patience = 3
	lost := make(chan error)
	go func() {
		_, err := c.Call(context.Background(), 1, nil)
		lost <- err
	}()
	<-got
	for range patience - 1 {
		c.Beat(patience)
	}
	select {
	case err := <-lost:
		t.Fatalf("given up before its time: %v", err)
	default:
	}
	c.Beat(patience)
	if err := <-lost; !errors.Is(err, ErrLost) {
		t.Fatalf("a request on the connection that was given up: %v", err)
	}
	// An answer makes it young again, and where none is owed none is missed.
	for range 2 * patience {
		if _, err := c.Call(context.Background(), 1, nil); err != nil {
			t.Fatal(err)
		}
		for range patience {
			c.Beat(patience)
		}
	}
	if dials != 2 {
		t.Errorf("%d dials, want one more than for the connection that was given up", dials)
	}
}

func TestGarbageEndsOnlyItsConnection(t *testing.T) {
	for name, raw := range map[string][]byte{
		"huge frame":               {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 1},
		"unknown kind":             {0, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 1},
		"not a check":              {0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xc1},
		"huge string":              {0, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x98, 0xdb, 0xff, 0xff, 0xff, 0xff},
		"an answer without a call": {0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := start(t, echo{})
			conn, err := c.dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(raw); err != nil {
				t.Fatal(err)
			}
			var d bucket.Decision
			if err := c.Check(t.Context(), bucket.Route{}, &bucket.Check{Account: "x"}, &d); err != nil {
				t.Fatal(err)
			}
			conn.Close()
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	s := NewServer(echo{})
	defer s.Close()
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			s.Serve(conn)
		}
	}()
	c := NewClient(func(ctx context.Context) (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) })
	defer c.Close()
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		var d bucket.Decision
		for pb.Next() {
			if err := c.Check(context.Background(), bucket.Route{}, &bucket.Check{Account: "account", Requests: 1}, &d); err != nil {
				b.Error(err)
			}
		}
	})
}
