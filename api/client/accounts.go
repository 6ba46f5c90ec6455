package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"quorate/api/wire"
)

// Account returns an account.
func (c *Client) Account(ctx context.Context, id string) (*wire.AccountResponse, error) {
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/accounts/" + url.PathEscape(id)})
	return accountOf(a, err)
}

// Patch changes an account, and creates it if it does not exist. fields contains any of
// plan, usage_limit, suspended and overrides, which replaces the whole list. A nil
// usage_limit removes the limit.
func (c *Client) Patch(ctx context.Context, id string, fields map[string]any) (*wire.AccountResponse, error) {
	a, err := c.do(ctx, request{method: http.MethodPatch, path: "/v1/accounts/" + url.PathEscape(id), body: fields})
	return accountOf(a, err)
}

func accountOf(a *answer, err error) (*wire.AccountResponse, error) {
	if err != nil {
		return nil, err
	}
	out := &wire.AccountResponse{Raw: a.body}
	if err := a.into(out); err != nil {
		return nil, err
	}
	return out, nil
}

// Accounts is one page of a list.
type Accounts struct {
	Accounts   []wire.AccountResponse `json:"accounts"`
	NextCursor *string                `json:"next_cursor"` // nil on the last page

	Raw json.RawMessage `json:"-"` // the body as received
}

// AccountsQuery selects accounts.
type AccountsQuery struct {
	Tier   int    // negative: any
	Limit  int    // 0: the server's default
	Cursor string // NextCursor of the previous page
}

// Accounts returns a page of accounts in byte order.
func (c *Client) Accounts(ctx context.Context, q AccountsQuery) (*Accounts, error) {
	v := url.Values{}
	if q.Tier >= 0 {
		v.Set("tier", strconv.Itoa(q.Tier))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Cursor != "" {
		v.Set("cursor", q.Cursor)
	}
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/accounts?" + v.Encode()})
	if err != nil {
		return nil, err
	}
	out := &Accounts{Raw: a.body}
	if err := a.into(out); err != nil {
		return nil, err
	}
	return out, nil
}

// Delete deletes an account without credits and without an open bill. For any other
// account the *Error has the code not_empty.
func (c *Client) Delete(ctx context.Context, id string) error {
	a, err := c.do(ctx, request{method: http.MethodDelete, path: "/v1/accounts/" + url.PathEscape(id)})
	if err != nil {
		return err
	}
	if a.status != http.StatusNoContent {
		return a.problem()
	}
	return nil
}
