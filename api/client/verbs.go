package client

import (
	"context"
	"net/http"
	"net/url"

	"quorate/api/wire"
)

// Check asks for a decision. A denial is no error: the answer's Status tells.
func (c *Client) Check(ctx context.Context, r wire.CheckRequest) (*wire.CheckResponse, error) {
	a, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/check", body: r})
	if err != nil {
		return nil, err
	}
	out := &wire.CheckResponse{Status: a.status, Index: a.index, Raw: a.body}
	switch a.status {
	case http.StatusPaymentRequired, http.StatusForbidden, http.StatusTooManyRequests:
		// A 403 may also be a problem, and a proxy's 429 no decision of ours.
		if err := a.decode(out); err != nil || out.Reason == "" {
			return nil, a.problem()
		}
		return out, nil
	}
	if err := a.into(out); err != nil {
		return nil, err
	}
	return out, nil
}

// Account returns an account.
func (c *Client) Account(ctx context.Context, id string) (*wire.AccountResponse, error) {
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/accounts/" + url.PathEscape(id)})
	return accountOf(a, err)
}

// Patch changes an account: Fields holds any of plan, usage_limit and
// suspended. A nil usage_limit takes the limit away.
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

// Entry records an entry in an account's ledger.
func (c *Client) Entry(ctx context.Context, account string, r wire.EntryRequest) (*wire.EntryResponse, error) {
	r.Account = "" // the path says it
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

// Cluster returns the state of the cluster as one of its nodes sees it.
func (c *Client) Cluster(ctx context.Context) (*wire.ClusterStatus, error) {
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/cluster"})
	if err != nil {
		return nil, err
	}
	out := &wire.ClusterStatus{Raw: a.body}
	if err := a.into(out); err != nil {
		return nil, err
	}
	return out, nil
}

// Ready returns nil when an endpoint is ready, and its lines of probes.
func (c *Client) Ready(ctx context.Context) (lines []byte, err error) {
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/readyz?verbose"})
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return a.body, a.problem()
	}
	return a.body, nil
}
