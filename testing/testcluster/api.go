package testcluster

import (
	"context"
	"fmt"
	"net/url"
	"testing"
)

// Check is the body of POST /v1/check.
type Check struct {
	Account  string `json:"account"`
	Model    string `json:"model,omitempty"`
	Category string `json:"category,omitempty"`
	Requests *int64 `json:"requests,omitempty"`
	Tokens   *int64 `json:"tokens,omitempty"`
	DryRun   bool   `json:"dry_run,omitempty"`
}

// Decision is the answer to a check.
type Decision struct {
	Allowed      bool          `json:"allowed"`
	Reason       string        `json:"reason"`
	Account      string        `json:"account"`
	Tier         int           `json:"tier"`
	Category     string        `json:"category"`
	Limits       []LimitStatus `json:"limits"`
	RetryAfterMS *int64        `json:"retry_after_ms"`
	DecidedBy    string        `json:"decided_by"`
	Node         string        `json:"node"`
	Degraded     bool          `json:"degraded"`
	RequiredTier int           `json:"required_tier"`
	SpendNeeded  string        `json:"spend_needed"`
	LimitHit     string        `json:"limit_hit"`
	NeverFits    bool          `json:"never_fits"`

	Reply *Reply `json:"-"`
}

// LimitStatus is one limit of a decision.
type LimitStatus struct {
	Name      string `json:"name"`
	Unit      string `json:"unit"`
	Limit     int64  `json:"limit"`
	Burst     int64  `json:"burst"`
	Window    string `json:"window"`
	Remaining int64  `json:"remaining"`
	ResetMS   int64  `json:"reset_ms"`
	Source    string `json:"source"`
}

// Account is the body of GET /v1/accounts/{id}.
type Account struct {
	ID            string `json:"id"`
	Plan          string `json:"plan"`
	Tier          int    `json:"tier"`
	TierName      string `json:"tier_name"`
	LifetimeSpend string `json:"lifetime_spend"`
	Credits       struct {
		Free      string `json:"free"`
		Purchased string `json:"purchased"`
	} `json:"credits"`
	OpenBill  string `json:"open_bill"`
	Suspended bool   `json:"suspended"`
	NextTier  *struct {
		Tier        int    `json:"tier"`
		SpendNeeded string `json:"spend_needed"`
	} `json:"next_tier"`
	Limits map[string][]LimitStatus `json:"limits"`
}

// Entered is the answer to an entry of the ledger.
type Entered struct {
	Replayed bool    `json:"replayed"`
	Entry    Entry   `json:"entry"`
	Account  Account `json:"account"`

	Reply *Reply `json:"-"`
}

// Entry is an entry of the ledger. Index is not sent.
type Entry struct {
	Account string `json:"account,omitempty"` // in bulk only
	Key     string `json:"key"`
	Type    string `json:"type"`
	Amount  string `json:"amount"`
	Index   uint64 `json:"index,omitempty"`
}

// Problem is the body of an error.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Field  string `json:"field"`
}

// Status is the body of GET /v1/cluster.
type Status struct {
	ClusterID        string       `json:"cluster_id"`
	Leader           *string      `json:"leader"`
	Term             uint64       `json:"term"`
	Epoch            uint64       `json:"epoch"`
	Unowned          int          `json:"unowned"`
	Moving           int          `json:"moving"`
	ChangingGrantors bool         `json:"settling"`
	Nodes            []NodeStatus `json:"nodes"`
}

// NodeStatus is one node of a Status.
type NodeStatus struct {
	ID           string `json:"id"`
	HTTP         string `json:"http"`
	Peer         string `json:"peer"`
	Gossip       string `json:"gossip"`
	State        string `json:"state"`
	Voter        bool   `json:"voter"`
	AppliedIndex uint64 `json:"applied_index"`
	Version      string `json:"version"`
	Partitions   int    `json:"partitions"`
	Leases       int    `json:"leases"`
	Incomplete   int    `json:"incomplete"`
}

// Node returns a node's line, nil where there is none.
func (s *Status) Node(id string) *NodeStatus {
	for i := range s.Nodes {
		if s.Nodes[i].ID == id {
			return &s.Nodes[i]
		}
	}
	return nil
}

// Decide asks a check; an answer that is no decision is an error.
func (n *Node) Decide(ctx context.Context, c Check, opts ...Option) (*Decision, error) {
	r, err := n.Do(ctx, "POST", "/v1/check", c, opts...)
	if err != nil {
		return nil, err
	}
	switch r.Status {
	case 200, 402, 403, 429:
	default:
		return nil, fmt.Errorf("no decision from %s: %s", n.ID, r)
	}
	d := &Decision{Reply: r}
	return d, r.JSON(d)
}

// Check is Decide where no decision fails the test.
func (n *Node) Check(tb testing.TB, c Check, opts ...Option) *Decision {
	tb.Helper()
	d, err := n.Decide(tb.Context(), c, opts...)
	if err != nil {
		tb.Fatalf("check %+v at %s: %v", c, n.ID, err)
	}
	return d
}

// Enter makes an entry of an account's ledger; one that is refused is an error.
func (n *Node) Enter(ctx context.Context, account string, e Entry) (*Entered, error) {
	r, err := n.Do(ctx, "POST", "/v1/accounts/"+url.PathEscape(account)+"/ledger", e)
	if err != nil {
		return nil, err
	}
	if r.Status != 200 {
		return nil, fmt.Errorf("entry %+v at %s: %s", e, n.ID, r)
	}
	out := &Entered{Reply: r}
	return out, r.JSON(out)
}

// Purchase buys credits; anything but success fails the test.
func (n *Node) Purchase(tb testing.TB, account, key, amount string) *Entered {
	tb.Helper()
	return n.mustEnter(tb, account, Entry{Key: key, Type: "purchase", Amount: amount})
}

// FreeCredit grants free credits; anything but success fails the test.
func (n *Node) FreeCredit(tb testing.TB, account, key, amount string) *Entered {
	tb.Helper()
	return n.mustEnter(tb, account, Entry{Key: key, Type: "free_credit", Amount: amount})
}

func (n *Node) mustEnter(tb testing.TB, account string, e Entry) *Entered {
	tb.Helper()
	out, err := n.Enter(tb.Context(), account, e)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// Account reads an account; anything but success fails the test.
func (n *Node) Account(tb testing.TB, id string, opts ...Option) *Account {
	tb.Helper()
	r := n.MustDo(tb, "GET", "/v1/accounts/"+url.PathEscape(id), nil, opts...)
	a := &Account{}
	if r.Status != 200 {
		tb.Fatalf("account %s at %s: %s", id, n.ID, r)
	}
	if err := r.JSON(a); err != nil {
		tb.Fatal(err)
	}
	return a
}

// Status reads the cluster's state as the node sees it.
func (n *Node) Status(tb testing.TB) *Status {
	tb.Helper()
	s, err := n.status()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// status also asks whether the node is ready.
func (n *Node) status() (*Status, error) {
	r, err := n.Do(context.Background(), "GET", "/readyz?verbose", nil)
	if err != nil {
		return nil, err
	}
	if r.Status != 200 {
		return nil, fmt.Errorf("%s is not ready: %s", n.ID, r)
	}
	if r, err = n.Do(context.Background(), "GET", "/v1/cluster", nil); err != nil {
		return nil, err
	}
	if r.Status != 200 {
		return nil, fmt.Errorf("cluster status of %s: %s", n.ID, r)
	}
	s := &Status{}
	return s, r.JSON(s)
}
