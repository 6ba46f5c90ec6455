package client

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
)

// Policy is the policy in force.
type Policy struct {
	Revision uint64          `json:"revision"`
	Policy   json.RawMessage `json:"policy"`

	Raw json.RawMessage `json:"-"` // the body as received
}

// Policy returns the policy in force.
func (c *Client) Policy(ctx context.Context) (*Policy, error) {
	a, err := c.do(ctx, request{method: http.MethodGet, path: "/v1/policy"})
	return policyOf(a, err)
}

// PolicyDocument returns the document of the policy in force, byte for byte.
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

// SetPolicy replaces the policy with a YAML or JSON document. If revision is not 0 and the
// policy in force has another revision, the *Error has the code revision_mismatch.
func (c *Client) SetPolicy(ctx context.Context, doc []byte, revision uint64) (*Policy, error) {
	r := request{method: http.MethodPut, path: "/v1/policy", raw: doc}
	if revision != 0 {
		r.header = http.Header{"If-Match": {strconv.Quote(strconv.FormatUint(revision, 10))}}
	}
	a, err := c.do(ctx, r)
	return policyOf(a, err)
}

// ValidatePolicy returns nil if the document is a valid policy.
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
