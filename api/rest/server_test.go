package rest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"quorate/limiter/bucket"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Goroutines of fasthttp: the date, and idle workers for a while.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// serve runs a server on a loopback port until the test ends.
func serve(t *testing.T, s *Server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// raw sends bytes and returns everything that the server sends until it closes.
func raw(t *testing.T, addr, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go io.WriteString(c, request) // the server may stop reading half-way
	got, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("read: %v", err)
	}
	return string(got)
}

func TestServerRefusesWhatItCannotRead(t *testing.T) {
	s, _ := newServer(t)
	addr := serve(t, s)
	for name, c := range map[string]struct {
		request, status, code string
	}{
		"a large body": {
			"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n" + strings.Repeat(" ", 1<<20+1), "413 Request Entity Too Large", "too_large",
		},
		"a large body in chunks": {
			"POST /v1/check HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("10000\r\n"+strings.Repeat(" ", 0x10000)+"\r\n", 40), "413 Request Entity Too Large", "too_large",
		},
		"a large header": {
			"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 20<<10) + "\r\n\r\n", "431 Request Header Fields Too Large", "too_large",
		},
		"no HTTP": {"hello\r\n\r\n", "400 Bad Request", "invalid_request"},
	} {
		got := raw(t, addr, c.request)
		for _, want := range []string{
			"HTTP/1.1 " + c.status, "Content-Type: application/problem+json", "X-Quorate-Index: 7", "Cache-Control: no-store", `"code":"` + c.code + `"`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %.400q lacks %s", name, got, want)
			}
		}
	}
}

func TestServerTakesABodyOfTheLargestSize(t *testing.T) {
	s, n := newServer(t)
	n.decision = decision(bucket.OK)
	addr := serve(t, s)
	body := aCheck + strings.Repeat(" ", 1<<20-len(aCheck))
	resp, err := http.Post("http://"+addr+"/v1/check", "x/y", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

func TestServerAnswersHead(t *testing.T) {
	s, _ := newServer(t)
	addr := serve(t, s)
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/v1/policy", "/v1/cluster", "/v1/accounts/nobody"} {
		get := raw(t, addr, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		head := raw(t, addr, "HEAD "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		want, _, _ := strings.Cut(get, "\r\n\r\n")
		if strip(head) != strip(want+"\r\n\r\n") {
			t.Errorf("%s: HEAD %q, GET %q", path, head, want)
		}
	}
}

// strip removes the date, which may change between two answers.
func strip(h string) string {
	from := strings.Index(h, "Date: ")
	if from < 0 {
		return h
	}
	return h[:from] + h[from+len("Date: Tue, 24 Nov 2026 08:44:01 GMT"):]
}

func TestServerReadsAnyContentTypeAndPipelines(t *testing.T) {
	s, n := newServer(t)
	n.decision = decision(bucket.OK)
	addr := serve(t, s)
	one := func(header string) string {
		return fmt.Sprintf("POST /v1/check HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s", header, len(aCheck), aCheck)
	}
	got := raw(t, addr, one("")+one("Content-Type: application/x-www-form-urlencoded\r\n")+
		one("Content-Type: multipart/form-data; boundary=x\r\nConnection: close\r\n"))
	if n := strings.Count(got, "HTTP/1.1 200 OK"); n != 3 {
		t.Errorf("%d answers of 3: %s", n, got)
	}
}

func TestShutdownLetsARequestFinish(t *testing.T) {
	s, n := newServer(t)
	n.decision = decision(bucket.OK)
	gate := &gated{Checker: n, entered: make(chan struct{}), release: make(chan struct{})}
	s.cfg.Checker = gate
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served, stopped := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(aCheck), aCheck)
	<-gate.entered
	go func() { stopped <- s.Shutdown(context.Background()) }()
	if err := <-served; err != nil { // the listener is closed
		t.Error(err)
	}
	select {
	case err := <-stopped:
		t.Fatalf("shut down during a request: %v", err)
	default:
	}
	close(gate.release)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || !resp.Close {
		t.Errorf("%s, to be closed %v", resp.Status, resp.Close)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// gated blocks a check until it is released.
type gated struct {
	Checker
	entered, release chan struct{}
}

func (g *gated) Check(ctx context.Context, c *bucket.Check, d *bucket.Decision) error {
	close(g.entered)
	<-g.release
	return g.Checker.Check(ctx, c, d)
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	s, n := newServer(t)
	gate := &gated{Checker: n, entered: make(chan struct{}), release: make(chan struct{})}
	s.cfg.Checker = gate
	addr := serve(t, s)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(aCheck), aCheck)
	<-gate.entered
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ended); err == nil {
		t.Error("shut down during a request")
	}
	close(gate.release)
}
