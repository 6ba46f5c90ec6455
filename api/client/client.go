// Package client asks a quorate cluster over HTTP.
//
// A client knows several endpoints. It stays with one as long as that answers
// and moves to the next when a request fails on the way or is answered 503; it
// gives up when each was asked once. Asking again is safe: entries carry
// idempotency keys, patches say the same twice, and a check counted twice only
// admits less.
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

// ErrUnavailable is wrapped by the error of a request that no endpoint
// answered.
var ErrUnavailable = errors.New("no endpoint answered")

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 16 << 20

// Config says whom to ask.
type Config struct {
	Endpoints []string      // URLs such as http://127.0.0.1:8081, at least one
	Token     string        // sent as a bearer token unless empty
	TLS       *tls.Config   // for https; nil: as the system believes
	Timeout   time.Duration // of one request to one endpoint; 0 is 10 s
}

// Validate reports what is wrong with the config.
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

// Client asks a cluster. Its methods may overlap.
type Client struct {
	cfg  Config
	http *http.Client
	at   atomic.Uint32 // the endpoint that answered last
}

// New returns a client; nothing is sent yet.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = cfg.TLS.Clone() // nil stays nil
	t.MaxIdleConnsPerHost = 64          // the default of 2 makes a busy client dial
	return &Client{cfg: cfg, http: &http.Client{Transport: t, Timeout: cfg.Timeout}}, nil
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is a problem that the cluster answered with.
type Error struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Field  string `json:"field"` // empty when no one field is at fault

	Errors []struct { // every fault of a document
		Path    string `json:"path"`
		Message string `json:"message"`
	} `json:"errors"`

	Raw json.RawMessage `json:"-"` // the body as it came
}

// Error returns the code and the detail.
func (e *Error) Error() string {
	if e.Field != "" {
		return fmt.Sprintf("%s: %s: %s", e.Code, e.Field, e.Detail)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Detail)
}

// request is what to ask, of whichever endpoint.
type request struct {
	method, path string
	body         any    // marshalled as JSON; nil: none
	raw          []byte // instead of body, as it is
	header       http.Header
}

// answer is a whole answer.
type answer struct {
	status int
	index  uint64
	body   []byte
}

// do asks one endpoint after the other. Where none answered but with 503 the
// error wraps ErrUnavailable, and an *Error if there was one.
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
		a, err := c.ask(ctx, c.endpoint(at), r, body)
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

func (c *Client) ask(ctx context.Context, endpoint string, r request, body []byte) (*answer, error) {
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

// read reads an answer to its end.
func read(resp *http.Response) (a *answer, err error) {
	a = &answer{status: resp.StatusCode}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(a.body) > maxAnswer {
		return nil, fmt.Errorf("answer of more than %d bytes", maxAnswer)
	}
	// An answer without an index comes from something in between.
	a.index, _ = strconv.ParseUint(resp.Header.Get(wire.HeaderIndex), 10, 64)
	return a, nil
}

// problem reads the answer as the problem that it is, or makes one of it.
func (a *answer) problem() error {
	e := &Error{}
	if json.Unmarshal(a.body, e) != nil || e.Code == "" {
		e = &Error{Code: "http_" + strconv.Itoa(a.status), Detail: http.StatusText(a.status)}
	}
	e.Status, e.Raw = a.status, a.body
	return e
}

// into decodes the body of a success into v; anything else is its problem.
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
