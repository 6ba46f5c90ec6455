package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"quorate/api/wire"
)

// CreateToken creates a token. Only its answer contains the secret.
func (c *Client) CreateToken(ctx context.Context, name string, scopes []string) (*wire.Token, error) {
	a, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/tokens", body: wire.TokenRequest{Name: name, Scopes: scopes}})
	if err != nil {
		return nil, err
	}
	out := &wire.Token{Raw: a.body}
	return out, a.into(out)
}

// Tokens lists the tokens, without their secrets.
func (c *Client) Tokens(ctx context.Context) (*wire.Tokens, error) {
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/tokens"})
	if err != nil {
		return nil, err
	}
	out := &wire.Tokens{Raw: a.body}
	return out, a.into(out)
}

// RevokeToken revokes a token.
func (c *Client) RevokeToken(ctx context.Context, name string) error {
	a, err := c.do(ctx, request{method: http.MethodDelete, path: "/v1/tokens/" + url.PathEscape(name)})
	if err != nil {
		return err
	}
	if a.status/100 != 2 {
		return a.problem()
	}
	return nil
}

// Audit returns at most limit records, newest first. cursor is the NextCursor of the
// previous page, empty for the first page.
func (c *Client) Audit(ctx context.Context, limit int, cursor string) (*wire.Audit, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/audit?" + q.Encode()})
	if err != nil {
		return nil, err
	}
	out := &wire.Audit{Raw: a.body}
	return out, a.into(out)
}
