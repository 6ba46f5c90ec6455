package client

import (
	"context"
	"net/http"

	"quorate/api/wire"
)

// Settle corrects a reservation to the tokens used, and records their cost.
func (c *Client) Settle(ctx context.Context, r wire.SettleRequest) (*wire.SettleResponse, error) {
	a, err := c.do(ctx, request{method: http.MethodPost, path: "/v1/settle", body: r})
	return settledOf(a, err)
}

// Release returns the units that a reservation took.
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
