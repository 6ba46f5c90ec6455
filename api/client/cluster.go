package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"quorate/api/wire"
)

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

// Remove takes a node out of the cluster for good. Its id can never come back.
func (c *Client) Remove(ctx context.Context, id string) (json.RawMessage, error) {
	return c.order(ctx, request{method: http.MethodPost, path: "/v1/cluster/nodes/" + url.PathEscape(id) + "/remove"})
}

// TransferLeadership has another node lead, any fit one where to is empty.
func (c *Client) TransferLeadership(ctx context.Context, to string) (json.RawMessage, error) {
	return c.order(ctx, request{method: http.MethodPost, path: "/v1/cluster/transfer-leadership", body: wire.TransferRequest{To: to}})
}

// Drain has the node of the endpoint, of which there must be one only, hand over
// what it owns.
func (c *Client) Drain(ctx context.Context) (json.RawMessage, error) {
	return c.order(ctx, request{method: http.MethodPost, path: "/v1/cluster/drain"})
}

// order returns the body of a success.
func (c *Client) order(ctx context.Context, r request) (json.RawMessage, error) {
	a, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, a.problem()
	}
	return a.body, nil
}
