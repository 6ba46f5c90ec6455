package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"quorate/api/wire"
)

// Policy is the policy in force.
type Policy struct {
	Revision uint64          `json:"revision"`
	Policy   json.RawMessage `json:"policy"`

	Raw json.RawMessage `json:"-"` // the body as it came
}

// Policy returns the policy in force.
func (c *Client) Policy(ctx context.Context) (*Policy, error) {
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/policy"})
	return policyOf(a, err)
}

// PolicyDocument returns the document of the policy in force as it was written.
func (c *Client) PolicyDocument(ctx context.Context) ([]byte, error) {
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/policy?format=yaml"})
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, a.problem()
	}
	return a.body, nil
}

// SetPolicy replaces the policy by a YAML or JSON document. Unless it is 0,
// revision is that of the policy it replaces; the error is a revision_mismatch
// when another is in force.
func (c *Client) SetPolicy(ctx context.Context, doc []byte, revision uint64) (*Policy, error) {
	r := request{method: http.MethodPut, path: "/v1/policy", raw: doc}
	if revision != 0 {
		r.header = http.Header{"If-Match": {strconv.Quote(strconv.FormatUint(revision, 10))}}
	}
	a, err := c.do(ctx, r)
	return policyOf(a, err)
}

// ValidatePolicy returns nil for a document that the cluster would take.
func (c *Client) ValidatePolicy(ctx context.Context, doc []byte) error {
	a, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/policy/validate", raw: doc})
	if err != nil {
		return err
	}
	if a.status != http.StatusOK {
		return a.problem()
	}
	return nil
}

func policyOf(a *answer, err error) (*Policy, error) {
	if err != nil {
		return nil, err
	}
	out := &Policy{Raw: a.body}
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

// EntryByKey looks an entry up: whether a write of unknown outcome was applied.
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

// BulkResult is what became of one entry of many.
type BulkResult struct {
	Status   int    `json:"status"`
	Replayed bool   `json:"replayed"`
	Code     string `json:"code"`
	Detail   string `json:"detail"`
	Field    string `json:"field"`
}

// Entries records up to wire.MaxBulk entries, each on its own and in order.
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

// Settle corrects what a reservation took to what was used.
func (c *Client) Settle(ctx context.Context, r wire.SettleRequest) (*wire.SettleResponse, error) {
	a, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/settle", body: r})
	return settledOf(a, err)
}

// Release gives back what a reservation took.
func (c *Client) Release(ctx context.Context, account, reservation string) (*wire.SettleResponse, error) {
	a, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/release", body: wire.SettleRequest{Account: account, Reservation: reservation}})
	return settledOf(a, err)
}

func settledOf(a *answer, err error) (*wire.SettleResponse, error) {
	if err != nil {
		return nil, err
	}
	out := &wire.SettleResponse{Raw: a.body}
	if err := a.into(out); err != nil {
		return nil, err
	}
	return out, nil
}

// Explain returns which rules lead to the decision of a check. It counts
// nothing.
func (c *Client) Explain(ctx context.Context, r wire.CheckRequest) (*wire.Explanation, error) {
	v := url.Values{"account": {r.Account}}
	if r.Model != "" {
		v.Set("model", r.Model)
	}
	if r.Category != "" {
		v.Set("category", r.Category)
	}
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/explain?" + v.Encode()})
	if err != nil {
		return nil, err
	}
	out := &wire.Explanation{Raw: a.body}
	if err := a.into(out); err != nil {
		return nil, err
	}
	return out, nil
}
