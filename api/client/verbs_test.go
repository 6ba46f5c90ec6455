package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"quorate/api/wire"
)

func TestVerbs(t *testing.T) {
	const account = `{"id":"a:b@c","plan":"build","tier":1,"next_tier":null,"credits":{"free":"0.00","purchased":"5.00"},"usage_limit":null,"overrides":[],"limits":{}}`
	for _, c := range []struct {
		name, body, asked string
		call              func(*Client) (any, json.RawMessage, error)
	}{
		{"account", account, "GET /v1/accounts/a:b@c Bearer secret ", func(c *Client) (any, json.RawMessage, error) {
			a, err := c.Account(t.Context(), "a:b@c")
			return a.Credits.Purchased, a.Raw, err
		}},
		{"patch", account, `PATCH /v1/accounts/a%2Fb Bearer secret {"usage_limit":null}`, func(c *Client) (any, json.RawMessage, error) {
			a, err := c.Patch(t.Context(), "a/b", map[string]any{"usage_limit": nil})
			return a.Credits.Purchased, a.Raw, err
		}},
		{
			"entry", `{"replayed":true,"entry":{"key":"k","type":"purchase","amount":"5.00","index":9},"account":` + account + `}`,
			`POST /v1/accounts/a/ledger Bearer secret {"key":"k","type":"purchase","amount":"5.00"}`,
			func(c *Client) (any, json.RawMessage, error) {
				e, err := c.Entry(t.Context(), "a", wire.EntryRequest{Account: "x", Key: "k", Type: "purchase", Amount: "5.00"})
				return e.Account.Credits.Purchased, e.Raw, err
			},
		},
		{"cluster", `{"cluster_id":"5.00","leader":null,"nodes":[]}`, "GET /v1/cluster Bearer secret ", func(c *Client) (any, json.RawMessage, error) {
			s, err := c.Cluster(t.Context())
			return s.ClusterID, s.Raw, err
		}},
		{"accounts", `{"accounts":[` + account + `],"next_cursor":"5.00"}`, "GET /v1/accounts?cursor=a%3Ab&limit=10&tier=0 Bearer secret ", func(c *Client) (any, json.RawMessage, error) {
			l, err := c.Accounts(t.Context(), AccountsQuery{Limit: 10, Cursor: "a:b"})
			return *l.NextCursor, l.Raw, err
		}},
		{"all accounts", `{"accounts":[` + account + `],"next_cursor":null}`, "GET /v1/accounts? Bearer secret ", func(c *Client) (any, json.RawMessage, error) {
			l, err := c.Accounts(t.Context(), AccountsQuery{Tier: -1})
			return l.Accounts[0].Credits.Purchased, l.Raw, err
		}},
		{"policy", `{"revision":7,"policy":{"schema":1}}`, "GET /v1/policy Bearer secret ", func(c *Client) (any, json.RawMessage, error) {
			p, err := c.Policy(t.Context())
			return fmt.Sprintf("%d.00", p.Revision-2), p.Raw, err
		}},
		{"policy document", "5.00", "GET /v1/policy?format=yaml Bearer secret ", func(c *Client) (any, json.RawMessage, error) {
			doc, err := c.PolicyDocument(t.Context())
			return string(doc), doc, err
		}},
		{"set policy", `{"revision":7,"policy":{"schema":1}}`, "PUT /v1/policy Bearer secret schema: 1", func(c *Client) (any, json.RawMessage, error) {
			p, err := c.SetPolicy(t.Context(), []byte("schema: 1"), 6)
			return fmt.Sprintf("%d.00", p.Revision-2), p.Raw, err
		}},
		{"validate policy", `{"valid":true}`, "POST /v1/policy/validate Bearer secret schema: 1", func(c *Client) (any, json.RawMessage, error) {
			return "5.00", json.RawMessage(`{"valid":true}`), c.ValidatePolicy(t.Context(), []byte("schema: 1"))
		}},
		{"entry by key", `{"key":"a/b","type":"usage","amount":"5.00","index":9}`, "GET /v1/accounts/a/ledger/a%2Fb%3F Bearer secret ", func(c *Client) (any, json.RawMessage, error) {
			e, err := c.EntryByKey(t.Context(), "a", "a/b?")
			return e.Amount, json.RawMessage(`{"key":"a/b","type":"usage","amount":"5.00","index":9}`), err
		}},
		{
			"settle", `{"settled":false,"usage_recorded":true,"replayed":false,"reason":"5.00"}`,
			`POST /v1/settle Bearer secret {"account":"a","reservation":"r","tokens":0,"amount":"1"}`,
			func(c *Client) (any, json.RawMessage, error) {
				s, err := c.Settle(t.Context(), wire.SettleRequest{Account: "a", Reservation: "r", Tokens: new(int64), Amount: "1"})
				return s.Reason, s.Raw, err
			},
		},
		{"release", `{"settled":true,"reason":"5.00"}`, `POST /v1/release Bearer secret {"account":"a","reservation":"r"}`, func(c *Client) (any, json.RawMessage, error) {
			s, err := c.Release(t.Context(), "a", "r")
			return s.Reason, s.Raw, err
		}},
		{"explain", `{"decision":{"reason":"free_tier"},"rules":[],"limits":[],"next_tier":{"tier":1,"spend_needed":"5.00"}}`, "GET /v1/explain?account=a&category=llm&model=m%2Fn Bearer secret ", func(c *Client) (any, json.RawMessage, error) {
			e, err := c.Explain(t.Context(), wire.CheckRequest{Account: "a", Model: "m/n", Category: "llm"})
			return e.NextTier.SpendNeeded, e.Raw, err
		}},
		{"ready", "5.00", "GET /readyz?verbose Bearer secret ", func(c *Client) (any, json.RawMessage, error) {
			lines, err := c.Ready(t.Context())
			return string(lines), lines, err
		}},
	} {
		e := newEndpoint(t, 200, c.body)
		got, raw, err := c.call(newClient(t, e.URL))
		if err != nil || got != "5.00" || string(raw) != c.body || *e.last.Load() != c.asked {
			t.Errorf("%s: %v, %s, %v, asked %s", c.name, got, raw, err, *e.last.Load())
		}
	}
}

func TestABatchHasAnAnswerForEachCheck(t *testing.T) {
	const body = `{"decisions":[{"status":200,"allowed":true,"reason":"ok","tier":1},{"status":429,"allowed":false,"reason":"rate_limited"},` +
		`{"type":"about:blank","status":404,"detail":"no rule","code":"unknown_model","field":"model"}]}`
	e := newEndpoint(t, 200, body)
	c := newClient(t, e.URL)
	checks := []wire.CheckRequest{{Account: "a", Category: "llm", Requests: 1}, {Account: "b", Model: "m"}, {Account: "c", Model: "n"}}
	got, err := c.CheckBatch(t.Context(), checks)
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v %v", got, err)
	}
	if !got[0].Allowed || got[0].Status != 200 || got[0].Index != 42 || got[1].Reason != "rate_limited" || got[1].Status != 429 {
		t.Errorf("%+v", got)
	}
	if p := got[2].Problem; got[0].Problem != nil || p == nil || p.Status != 404 || p.Code != "unknown_model" || p.Field != "model" {
		t.Errorf("%+v", got)
	}
	want := `POST /v1/check/batch Bearer secret {"checks":[{"account":"a","category":"llm","requests":1,"tokens":0},{"account":"b","model":"m","requests":0,"tokens":0},{"account":"c","model":"n","requests":0,"tokens":0}]}`
	if *e.last.Load() != want {
		t.Errorf("asked %s", *e.last.Load())
	}
	if _, err := c.CheckBatch(t.Context(), checks[:2]); err == nil {
		t.Error("an answer too many was taken")
	}
}

func TestEntriesOfABulkFailAlone(t *testing.T) {
	e := newEndpoint(t, 200, `{"results":[{"status":200,"replayed":true},{"status":409,"code":"key_reused","detail":"d"}]}`)
	got, err := newClient(t, e.URL).Entries(t.Context(), []wire.EntryRequest{{Account: "a", Key: "k", Type: "usage", Amount: "1", IssuedAt: "2026-01-31T12:00:00Z"}})
	if err != nil || len(got) != 2 || !got[0].Replayed || got[1].Code != "key_reused" || got[1].Status != 409 {
		t.Errorf("%+v %v", got, err)
	}
	if want := `POST /v1/ledger Bearer secret {"entries":[{"account":"a","key":"k","type":"usage","amount":"1","issued_at":"2026-01-31T12:00:00Z"}]}`; *e.last.Load() != want {
		t.Errorf("asked %s", *e.last.Load())
	}
}

func TestFaultsAreTold(t *testing.T) {
	e := newEndpoint(t, 422, `{"status":422,"code":"invalid_policy","detail":"1 faults","errors":[{"path":"tiers[0]","message":"bad"}]}`)
	var p *Error
	if err := newClient(t, e.URL).ValidatePolicy(t.Context(), nil); !errors.As(err, &p) || p.Errors[0].Path != "tiers[0]" {
		t.Errorf("%v", err)
	}
	if err := newClient(t, newEndpoint(t, 204, "").URL).Delete(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if err := newClient(t, newEndpoint(t, 409, `{"code":"not_empty"}`).URL).Delete(t.Context(), "a"); !errors.As(err, &p) || p.Code != "not_empty" {
		t.Errorf("%v", err)
	}
}
