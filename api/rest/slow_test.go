package rest

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The server waits for a slow client no longer than a request may take, however fast
// single bytes arrive.
func TestSlowClientsAreLeft(t *testing.T) {
	for name, tt := range map[string]struct {
		first, then string // sent once at first, then repeatedly
		encrypted   bool
		want        string
	}{
		"half a header":         {"GET /livez HTTP/1.1\r\nHost: x\r\n", "", false, "HTTP/1.1 408 "},
		"a header by the byte":  {"GET /livez HTTP/1.1\r\nX-A: ", "a", false, "HTTP/1.1 408 "},
		"half a body":           {"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", "", false, "HTTP/1.1 408 "},
		"a body by the byte":    {"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n", " ", false, "HTTP/1.1 408 "},
		"chunks without end":    {"POST /v1/check HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n", false, "HTTP/1.1 408 "},
		"nothing":               {"", "", false, ""},
		"no handshake":          {"", "", true, ""},
		"half a handshake":      {"\x16\x03\x01", "", true, ""},
		"a handshake by a byte": {"\x16\x03\x01\x40\x00", "\x00", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newServer(t)
			s.http.ReadTimeout = 200 * time.Millisecond
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := l.Addr().String()
			if tt.encrypted {
				https := httptest.NewTLSServer(nil) // for its certificate
				defer https.Close()
				l = tls.NewListener(l, https.TLS)
			}
			done := make(chan error, 1)
			go func() { done <- s.Serve(l) }()
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			ended, end := context.WithCancel(t.Context())
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, err := io.WriteString(c, tt.first)
				for err == nil && tt.then != "" && ended.Err() == nil {
					time.Sleep(10 * time.Millisecond) // the test is about slowness
					_, err = io.WriteString(c, tt.then)
				}
			}()
			// The connection must end before the deadline of the test.
			got, err := io.ReadAll(c)
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				t.Error("still connected")
			}
			if !strings.HasPrefix(string(got), tt.want) {
				t.Errorf("answered %q, want %q", got, tt.want)
			}
			end()
			c.Close()
			<-sent
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
