package testcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// client keeps a few connections to each node open and never follows a
// redirect. A connection that a killed node left behind fails one request;
// those go out as they are, so that tests see what a client sees.
var client = &http.Client{
	Timeout:       10 * time.Second,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Reply is an answer as it came.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Index returns the log index that the answer names.
func (r *Reply) Index() uint64 {
	n, _ := strconv.ParseUint(r.Header.Get("X-Quorate-Index"), 10, 64) // 0 where there is none
	return n
}

// JSON reads the body into v.
func (r *Reply) JSON(v any) error {
	if err := json.Unmarshal(r.Body, v); err != nil {
		return fmt.Errorf("status %d, body %.300q: %w", r.Status, r.Body, err)
	}
	return nil
}

// String returns the status and the start of the body.
func (r *Reply) String() string { return fmt.Sprintf("%d %.400s", r.Status, r.Body) }

// Request and Option: an Option changes a Request before it is sent.
type (
	Request = http.Request
	Option  func(*Request)
)

// MinIndex asks for an answer that knows of everything up to a log index.
func MinIndex(index uint64) Option {
	return func(r *http.Request) { r.Header.Set("X-Quorate-Min-Index", strconv.FormatUint(index, 10)) }
}

// Token sends another token than the node's; empty is none.
func Token(token string) Option {
	return func(r *http.Request) {
		r.Header.Del("X-Quorate-Token")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
	}
}

// Do sends a request. A body that is bytes or a string goes out as it is, nil
// is none, anything else is written as JSON.
func (n *Node) Do(ctx context.Context, method, path string, body any, opts ...Option) (*Reply, error) {
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = bytes.NewReader([]byte(b))
	case []byte:
		in = bytes.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(ctx, method, n.URL+path, in)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if n.Token != "" {
		req.Header.Set("X-Quorate-Token", n.Token)
	}
	for _, o := range opts {
		o(req)
	}
	do := client
	if n.Client != nil {
		do = n.Client
	}
	resp, err := do.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return &Reply{Status: resp.StatusCode, Header: resp.Header, Body: out}, nil
}

// MustDo is Do where a request that gets no answer fails the test.
func (n *Node) MustDo(tb testing.TB, method, path string, body any, opts ...Option) *Reply {
	tb.Helper()
	r, err := n.Do(tb.Context(), method, path, body, opts...)
	if err != nil {
		tb.Fatalf("%s %s of %s: %v", method, path, n.ID, err)
	}
	return r
}

// CloseIdle closes the connections to nodes that no request uses, so that what a
// node holds is its own.
func CloseIdle() { client.CloseIdleConnections() }
