// Package client is a client of quorate's HTTP API.
//
// A client has several endpoints. It uses the same endpoint as long as that answers. If
// a request fails or is answered 503, the client sends it to the next endpoint, and
// gives up after it has tried each endpoint once. Repeating a request is safe: entries
// carry idempotency keys, a repeated patch has the same result, and a check that counts
// twice only admits less.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"quorate/api/wire"
)

// ErrUnavailable is wrapped by the error of a request that no endpoint answered, except
// with 503.
var ErrUnavailable = errors.New("no endpoint answered")

// maxAnswer is the maximum size of an answer in bytes.
const maxAnswer = 16 << 20

// Config configures a Client.
type Config struct {
	Endpoints []string      // URLs such as http://127.0.0.1:8081, at least one
	Token     string        // sent as a bearer token unless empty
	TLS       *tls.Config   // for https; nil: the system's CAs
	Timeout   time.Duration // of a request to one endpoint; 0 means 10 s
}

// Validate returns an error if there is no endpoint or an endpoint is not a URL.
func (c *Config) Validate() error {
	if len(c.Endpoints) == 0 {
		return errors.New("no endpoints given")
	}
	for _, e := range c.Endpoints {
		u, err := url.Parse(e)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("endpoint %q: want a URL such as http://127.0.0.1:8081", e)
		}
	}
	return nil
}

// Client is a client of one cluster. Its methods may be called concurrently.
//
// An answer that is a problem is returned as an *Error. If no endpoint answered, the
// error wraps ErrUnavailable, and an *Error if an endpoint answered 503.
type Client struct {
	cfg  Config
	http *http.Client
	at   atomic.Uint32 // index of the endpoint that answered last
}

// New returns a client. It sends no request.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = cfg.TLS.Clone() // Clone of nil is nil
	t.MaxIdleConnsPerHost = 64          // with the default of 2, a busy client keeps dialling
	return &Client{cfg: cfg, http: &http.Client{Transport: t, Timeout: cfg.Timeout}}, nil
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is a problem in an answer of the cluster.
type Error struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Field  string `json:"field"` // empty if the error concerns no single field

	Errors []struct { // all errors of a document
		Path    string `json:"path"`
		Message string `json:"message"`
	} `json:"errors"`

	Raw json.RawMessage `json:"-"` // the body as received
}

// Error returns the code, the field if there is one, and the detail.
func (e *Error) Error() string {
	if e.Field != "" {
		return fmt.Sprintf("%s: %s: %s", e.Code, e.Field, e.Detail)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Detail)
}

// request is a request without an endpoint.
type request struct {
	method, path string
	body         any    // marshalled as JSON; nil: no body
	raw          []byte // the body as it is, instead of body
	header       http.Header
}

// answer is an answer that was read completely.
type answer struct {
	status int
	index  uint64
	body   []byte
}

// do sends a request to one endpoint after the other, until an endpoint answers with a
// status other than 503. If none does, the error wraps ErrUnavailable, and an *Error if
// an endpoint answered 503.
func (c *Client) do(ctx context.Context, r request) (*answer, error) {
	body := r.raw
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return nil, fmt.Errorf("marshal request: %w", err)
		}
	}
	first := int(c.at.Load())
	failures := []error{ErrUnavailable}
	for i := range c.cfg.Endpoints {
		at := (first + i) % len(c.cfg.Endpoints)
		a, err := c.send(ctx, c.endpoint(at), r, body)
		if err == nil && a.status != http.StatusServiceUnavailable {
			c.at.Store(uint32(at))
			return a, nil
		}
		if err == nil {
			err = a.problem()
		}
		failures = append(failures, fmt.Errorf("%s: %w", c.cfg.Endpoints[at], err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

func (c *Client) send(ctx context.Context, endpoint string, r request, body []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, endpoint+r.path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", wire.TypeJSON)
	}
	c.authorize(req)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return read(resp)
}

func (c *Client) endpoint(at int) string { return strings.TrimSuffix(c.cfg.Endpoints[at], "/") }

func (c *Client) authorize(req *http.Request) {
	if c.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
}

// read reads the whole answer.
func read(resp *http.Response) (a *answer, err error) {
	a = &answer{status: resp.StatusCode}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(a.body) > maxAnswer {
		return nil, fmt.Errorf("answer of more than %d bytes", maxAnswer)
	}
	// An answer without an index comes from a proxy: its index is 0.
	a.index, _ = strconv.ParseUint(resp.Header.Get(wire.HeaderIndex), 10, 64)
	return a, nil
}

// problem returns the answer as an *Error, also if its body is not a problem.
func (a *answer) problem() error {
	e := &Error{}
	if json.Unmarshal(a.body, e) != nil || e.Code == "" {
		e = &Error{Code: "http_" + strconv.Itoa(a.status), Detail: http.StatusText(a.status)}
	}
	e.Status, e.Raw = a.status, a.body
	return e
}

// into decodes the body of a successful answer into v; for any other answer it returns
// the problem.
func (a *answer) into(v any) error {
	if a.status/100 != 2 {
		return a.problem()
	}
	return a.decode(v)
}

func (a *answer) decode(v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}
