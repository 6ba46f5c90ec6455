package client

import (
	"context"
	"net/http"
	"net/url"

	"quorate/api/wire"
)

// Entry records an entry in an account's ledger.
func (c *Client) Entry(ctx context.Context, account string, r wire.EntryRequest) (*wire.EntryResponse, error) {
	r.Account = "" // the account is in the path
	a, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/accounts/" + url.PathEscape(account) + "/ledger", body: r})
	if err != nil {
		return nil, err
	}
	out := &wire.EntryResponse{Raw: a.body}
	if err := a.into(out); err != nil {
		return nil, err
	}
	return out, nil
}

// EntryByKey returns the entry with a key. It shows whether a write of unknown outcome
// was applied: if not, the *Error has the code unknown_key.
func (c *Client) EntryByKey(ctx context.Context, account, key string) (*wire.Entry, error) {
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/accounts/" + url.PathEscape(account) + "/ledger/" + url.PathEscape(key)})
	if err != nil {
		return nil, err
	}
	out := &wire.Entry{}
	if err := a.into(out); err != nil {
		return nil, err
	}
	return out, nil
}

// BulkResult is the result of one entry of a bulk request.
type BulkResult struct {
	Status   int    `json:"status"`
	Replayed bool   `json:"replayed"`
	Code     string `json:"code"`
	Detail   string `json:"detail"`
	Field    string `json:"field"`
}

// Entries records up to wire.MaxBulk entries, in order. Each succeeds or fails
// independently.
func (c *Client) Entries(ctx context.Context, entries []wire.EntryRequest) ([]BulkResult, error) {
	body := struct {
		Entries []wire.EntryRequest `json:"entries"`
	}{entries}
	a, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/ledger", body: body})
	if err != nil {
		return nil, err
	}
	var out struct{ Results []BulkResult }
	if err := a.into(&out); err != nil {
		return nil, err
	}
	return out.Results, nil
}
