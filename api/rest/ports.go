// Package rest answers the HTTP API: it reads requests, asks the parts of the
// node through the interfaces below, and writes JSON. It decides nothing
// itself. All the calls of the interfaces may overlap.
package rest

import (
	"context"
	"io"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// Checker decides checks, wherever in the cluster their buckets are.
type Checker interface {
	// Check fills d. An error wraps ledger.ErrBehind when c.MinIndex could not
	// be waited for; a check that no node may decide is no error but
	// bucket.Unavailable.
	Check(ctx context.Context, c *bucket.Check, d *bucket.Decision) error
}

// Proposer writes through the log.
type Proposer interface {
	// Propose applies operations, at most ledger.MaxOps, each on its own and in
	// order, and returns a result for each and the log index of the last. Its
	// error wraps ledger.ErrNoQuorum, ErrOutcomeUnknown or ErrOverloaded.
	Propose(ctx context.Context, ops []ledger.Op) ([]ledger.Result, uint64, error)
}

// View reads this node's copy of the replicated state.
type View interface {
	Account(id string) *ledger.Account // nil: never seen
	Table() *ledger.Table
	Index() uint64 // applied
	// WaitIndex waits until the index is applied, or returns ledger.ErrBehind
	// when ctx ends first.
	WaitIndex(ctx context.Context, index uint64) error
}

// Operator tells of the cluster and of this process.
type Operator interface {
	Cluster() ClusterStatus
	Ready() []Probe
}

// Metrics writes all metrics in Prometheus' text format.
type Metrics interface {
	Write(w io.Writer) error
	// Checked counts one decision. seconds is from request read to answer made.
	Checked(reason bucket.Reason, seconds float64)
	// Entered counts one ledger entry by its outcome: applied, replayed or
	// refused.
	Entered(t ledger.EntryType, outcome string)
}

// Probe is one line of /readyz. Only Fatal ones that fail make a node not
// ready.
type Probe struct {
	Name  string
	OK    bool
	Fatal bool
}

// ClusterStatus is the body of GET /v1/cluster.
type ClusterStatus struct {
	ClusterID      string       `json:"cluster_id"`
	Leader         *string      `json:"leader"`
	Term           uint64       `json:"term"`
	Epoch          uint64       `json:"epoch"`
	KeysSince      *string      `json:"keys_remembered_since"` // RFC 3339; null while no command was applied
	Nodes          []NodeStatus `json:"nodes"`
	AnsweredByNode string       `json:"node"`
}

// NodeStatus is one node of the cluster.
type NodeStatus struct {
	ID           string `json:"id"`
	HTTP         string `json:"http"`
	Peer         string `json:"peer"`
	Gossip       string `json:"gossip"`
	State        string `json:"state"` // alive, suspect, left or dead
	Voter        bool   `json:"voter"`
	AppliedIndex uint64 `json:"applied_index"`
	Version      string `json:"version"`
	Partitions   int    `json:"partitions"`
}

// Config is what a Server is made of.
type Config struct {
	NodeID   string
	Checker  Checker
	Proposer Proposer
	View     View
	Operator Operator
	Metrics  Metrics
}
