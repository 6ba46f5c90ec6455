package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"quorate/api/wire"
)

// endpoint gives the same answer to every request and records the last request.
type endpoint struct {
	*httptest.Server
	status int
	body   string

	asked atomic.Int64
	last  atomic.Pointer[string]
	conns atomic.Int64
}

func newEndpoint(t *testing.T, status int, body string) *endpoint {
	t.Helper()
	e := &endpoint{status: status, body: body}
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.asked.Add(1)
		b, _ := io.ReadAll(r.Body)
		line := r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("Authorization") + " " + string(b)
		e.last.Store(&line)
		w.Header().Set(wire.HeaderIndex, "42")
		w.WriteHeader(e.status)
		_, _ = io.WriteString(w, e.body)
	}))
	e.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			e.conns.Add(1)
		}
	}
	e.Start()
	t.Cleanup(e.Close)
	return e
}

// refusing returns the URL of a port without a listener.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func newClient(t *testing.T, endpoints ...string) *Client {
	t.Helper()
	c, err := New(Config{Endpoints: endpoints, Token: "secret", Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const (
	allowed  = `{"allowed":true,"reason":"ok","account":"a","tier":2,"category":"llm","limits":[{"name":"llm-requests-1m","remaining":3}],"retry_after_ms":0,"node":"n1"}`
	noQuorum = `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"no leader","code":"no_quorum"}`
)

func TestCheckTakesADenialForAnAnswer(t *testing.T) {
	for status, body := range map[int]string{
		200: allowed,
		402: `{"allowed":false,"reason":"usage_limit","limits":[],"retry_after_ms":0}`,
		403: `{"allowed":false,"reason":"free_tier","required_tier":1,"spend_needed":"5.00","limits":[],"retry_after_ms":0}`,
		429: `{"allowed":false,"reason":"rate_limited","limit_hit":"llm-requests-1m","never_fits":true,"limits":[],"retry_after_ms":null}`,
	} {
		e := newEndpoint(t, status, body)
		got, err := newClient(t, e.URL).Check(t.Context(), wire.CheckRequest{Account: "a", Model: "m", Requests: 0})
		if err != nil {
			t.Fatalf("%d: %v", status, err)
		}
		if got.Status != status || got.Allowed != (status == 200) || got.Index != 42 || string(got.Raw) != body {
			t.Errorf("%d: %+v", status, got)
		}
		if (got.RetryAfterMS == nil) != (status == 429) {
			t.Errorf("%d: retry after %v", status, got.RetryAfterMS)
		}
		if want := `POST /v1/check Bearer secret {"account":"a","model":"m","requests":0,"tokens":0}`; *e.last.Load() != want {
			t.Errorf("asked %s", *e.last.Load())
		}
	}
}

func TestProblemsAreErrors(t *testing.T) {
	for _, c := range []struct {
		status      int
		body        string
		code, field string
	}{
		{400, `{"status":400,"detail":"want an integer","code":"invalid_request","field":"tokens"}`, "invalid_request", "tokens"},
		{403, `{"status":403,"detail":"no","code":"insufficient_scope"}`, "insufficient_scope", ""},
		{404, `{"status":404,"detail":"no","code":"unknown_model"}`, "unknown_model", ""},
		{502, `<html>`, "http_502", ""},
		{429, `slow down`, "http_429", ""},
		{200, `<html>`, "", ""},
	} {
		e := newEndpoint(t, c.status, c.body)
		_, err := newClient(t, e.URL).Check(t.Context(), wire.CheckRequest{Account: "a", Model: "m"})
		var p *Error
		if err == nil || errors.As(err, &p) != (c.code != "") || errors.Is(err, ErrUnavailable) {
			t.Errorf("%d %s: %v", c.status, c.body, err)
			continue
		}
		if p != nil && (p.Status != c.status || p.Code != c.code || p.Field != c.field || string(p.Raw) != c.body || !strings.Contains(err.Error(), c.code)) {
			t.Errorf("%d %s: %+v", c.status, c.body, p)
		}
	}
}

func TestTheNextEndpointIsAsked(t *testing.T) {
	sick, well := newEndpoint(t, 503, noQuorum), newEndpoint(t, 200, allowed)
	c := newClient(t, refusing(t), sick.URL, well.URL+"/")
	for range 3 {
		if _, err := c.Check(t.Context(), wire.CheckRequest{Account: "a", Model: "m"}); err != nil {
			t.Fatal(err)
		}
	}
	// The client stays with the endpoint that answered, on one connection.
	if sick.asked.Load() != 1 || well.asked.Load() != 3 || well.conns.Load() != 1 {
		t.Errorf("asked %d and %d times, %d connections", sick.asked.Load(), well.asked.Load(), well.conns.Load())
	}
}

func TestNoEndpointAnswers(t *testing.T) {
	sick := newEndpoint(t, 503, noQuorum)
	_, err := newClient(t, sick.URL, refusing(t)).Account(t.Context(), "a")
	var p *Error
	if !errors.Is(err, ErrUnavailable) || !errors.As(err, &p) || p.Code != "no_quorum" {
		t.Errorf("%v", err)
	}
	if _, err = newClient(t, refusing(t)).Account(t.Context(), "a"); !errors.Is(err, ErrUnavailable) || errors.As(err, &p) {
		t.Errorf("%v", err)
	}
}

func TestAnEndedContextAsksNoOneElse(t *testing.T) {
	well := newEndpoint(t, 200, allowed)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newClient(t, refusing(t), well.URL).Check(ctx, wire.CheckRequest{Account: "a", Model: "m"})
	if !errors.Is(err, context.Canceled) || well.asked.Load() != 0 {
		t.Errorf("%v, asked %d times", err, well.asked.Load())
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, endpoints := range [][]string{nil, {""}, {"127.0.0.1:8081"}, {"ftp://x"}, {"http://"}, {"http://ok", "%"}} {
		if _, err := New(Config{Endpoints: endpoints}); err == nil {
			t.Errorf("%q: accepted", endpoints)
		}
	}
}
