package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"quorate/api/wire"
)

// Cluster returns the state of the cluster from the view of one node.
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

// Ready returns nil if an endpoint is ready, and the probes of that endpoint as text.
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

// Remove permanently removes a node from the cluster. Its id can never be used again.
func (c *Client) Remove(ctx context.Context, id string) (json.RawMessage, error) {
	return c.command(ctx, request{method: http.MethodPost, path: "/v1/cluster/nodes/" + url.PathEscape(id) + "/remove"})
}

// TransferLeadership transfers leadership to the node, or to any voter that can lead if
// to is empty.
func (c *Client) TransferLeadership(ctx context.Context, to string) (json.RawMessage, error) {
	return c.command(ctx, request{method: http.MethodPost, path: "/v1/cluster/transfer-leadership", body: wire.TransferRequest{To: to}})
}

// Drain makes the node of the client's endpoint hand over all its partitions. The client
// must have exactly one endpoint.
func (c *Client) Drain(ctx context.Context) (json.RawMessage, error) {
	return c.command(ctx, request{method: http.MethodPost, path: "/v1/cluster/drain"})
}

// command returns the body of a successful answer.
func (c *Client) command(ctx context.Context, r request) (json.RawMessage, error) {
	a, err := c.do(ctx, r)
	if err != nil {
		return nil, err
	}
	if a.status != http.StatusOK {
		return nil, a.problem()
	}
	return a.body, nil
}
