package client

import (
	"context"
	"net/http"

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
