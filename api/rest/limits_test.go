package rest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"quorate/limiter/bucket"
)

func TestAConnectionTooManyIsToldSo(t *testing.T) {
	s, _ := newServer(t)
	s.cfg.MaxConns = 2
	addr := serve(t, s)
	get := "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
	var held []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, get)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%v, %v", resp, err)
		}
		resp.Body.Close()
		held = append(held, c)
	}
	got := raw(t, addr, get)
	for _, want := range []string{
		"HTTP/1.1 503 Service Unavailable\r\n", "\r\nRetry-After: 1\r\n", "\r\nContent-Type: application/problem+json\r\n", "\r\nCache-Control: no-store\r\n",
		"\r\nX-Quorate-Index: 7\r\n", "\r\nConnection: close\r\n", `"status":503,`, `"code":"overloaded"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil); err != nil {
		t.Error(err)
	} else if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("body: %v", err)
	}
	// A refused connection does not count, and a closed one makes room.
	held[0].Close()
	for deadline := time.Now().Add(10 * time.Second); ; {
		got = raw(t, addr, strings.Replace(get, "Host", "Connection: close\r\nHost", 1))
		if strings.HasPrefix(got, "HTTP/1.1 200 OK") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %q", got)
		}
	}
}

// The server does not wait for a large body of an unauthenticated client.
func TestABodyOfAStrangerIsNotRead(t *testing.T) {
	s, _ := guardedServer(t)
	addr := serve(t, s)
	for _, request := range []string{
		"POST /v1/ledger HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n",
		"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n",
		"POST /v1/authz?account=a&category=llm HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n",
		"PUT /v1/policy HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n",
		"PUT /v1/policy HTTP/1.1\r\nHost: x\r\nX-Quorate-Token: wrong\r\nContent-Length: 70000\r\n",
		"POST /v1/restore HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000000\r\n",
	} {
		for _, body := range []string{"", strings.Repeat("x", 200_000)} {
			got := raw(t, addr, request+"\r\n"+body)
			if !strings.HasPrefix(got, "HTTP/1.1 401 ") || !strings.Contains(got, "unauthenticated") || strings.Count(got, "HTTP/1.1") != 1 {
				t.Errorf("%q and %d bytes: %q", request, len(body), got)
			}
		}
		// The body of an authenticated client is read to its end.
		if strings.Contains(request, "1048576") {
			got := raw(t, addr, request+"Authorization: Bearer own\r\nConnection: close\r\n\r\n"+strings.Repeat(" ", 1<<20))
			if strings.HasPrefix(got, "HTTP/1.1 401 ") || !strings.HasPrefix(got, "HTTP/1.1 ") {
				t.Errorf("%q with a token: %q", request, got)
			}
		}
	}
}

func TestARequestTooManyIsToldSo(t *testing.T) {
	s, n := newServer(t)
	s.cfg.MaxRequests = 1
	n.decision = decision(bucket.OK)
	gate := &gated{Checker: n, entered: make(chan struct{}), release: make(chan struct{})}
	s.cfg.Checker = gate
	done := make(chan answer)
	go func() { done <- ask(s, "POST", "/v1/check", aCheck) }()
	<-gate.entered
	for _, path := range []string{"/v1/policy", "/v1/authz?account=a&category=llm", "/nothing"} {
		a := ask(s, "GET", path, "")
		if code, _ := a.code(t); a.status != 503 || code != "overloaded" || a.get("Retry-After") != "1" {
			t.Errorf("%s: %d %s, Retry-After %q", path, a.status, a.body, a.get("Retry-After"))
		}
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if a := ask(s, "GET", path, ""); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	close(gate.release)
	if a := <-done; a.status != 200 {
		t.Errorf("the one that was first: %d %s", a.status, a.body)
	}
	if a := ask(s, "GET", "/v1/policy", ""); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}
