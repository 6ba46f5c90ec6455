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

// Patch changes an account: fields holds any of plan, usage_limit, suspended and
// overrides, the whole list. A nil usage_limit takes the limit away.
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
	NextCursor *string                `json:"next_cursor"` // nil at the end

	Raw json.RawMessage `json:"-"` // the body as it came
}

// AccountsQuery selects accounts.
type AccountsQuery struct {
	Tier   int    // below 0: any
	Limit  int    // 0: the server's default
	Cursor string // the NextCursor of the page before
}

// Accounts lists accounts in byte order, a page at a time.
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

// Delete removes an account that holds nothing.
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
