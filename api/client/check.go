package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"quorate/api/wire"
)

// Check decides a check. A denial is not an error: see Status of the answer.
func (c *Client) Check(ctx context.Context, r wire.CheckRequest) (*wire.CheckResponse, error) {
	a, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/check", body: r})
	if err != nil {
		return nil, err
	}
	out := &wire.CheckResponse{Status: a.status, Index: a.index, Raw: a.body}
	switch a.status {
	case http.StatusPaymentRequired, http.StatusForbidden, http.StatusTooManyRequests:
		// A 403 may also be a problem, and a 429 may come from a proxy.
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

// CheckResult is the result of one check of a batch: a decision or a problem.
type CheckResult struct {
	wire.CheckResponse        // valid if Problem is nil; Index is that of the batch
	Problem            *Error // nil if the check was decided
}

// CheckBatch decides up to wire.MaxBulk checks and returns a result for each, in order.
// Each check succeeds or fails independently. A denial is not an error.
func (c *Client) CheckBatch(ctx context.Context, checks []wire.CheckRequest) ([]CheckResult, error) {
	body := struct {
		Checks []wire.CheckRequest `json:"checks"`
	}{checks}
	a, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/check/batch", body: body})
	if err != nil {
		return nil, err
	}
	var got struct {
		Decisions []json.RawMessage `json:"decisions"`
	}
	if err := a.into(&got); err != nil {
		return nil, err
	}
	if len(got.Decisions) != len(checks) {
		return nil, fmt.Errorf("%d decisions of %d checks", len(got.Decisions), len(checks))
	}
	out := make([]CheckResult, len(checks))
	for i, raw := range got.Decisions {
		if err := out[i].read(raw, a.index); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// read decodes one item of the answer.
func (r *CheckResult) read(raw json.RawMessage, index uint64) error {
	e := &Error{Raw: raw}
	if err := json.Unmarshal(raw, e); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if e.Code != "" {
		r.Problem = e
		return nil
	}
	if err := json.Unmarshal(raw, &r.CheckResponse); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	r.Status, r.Index, r.Raw = e.Status, index, raw
	return nil
}

// Explain returns the decision that a check would get and the rules that lead to it. It
// counts nothing.
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
