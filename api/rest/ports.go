// Package rest serves the HTTP API: it reads requests, calls the node through the
// interfaces in this file, and writes the answers. It makes no decisions itself. It
// calls all methods of the interfaces concurrently.
package rest

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"quorate/api/wire"
	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// Checker decides checks on any node of the cluster.
type Checker interface {
	// Check decides c and fills d. It appends to d.Limits, whose capacity it may
	// use. It must not keep the strings of c, which point into the request, and it
	// must return within a few seconds, because ctx has no deadline. The error wraps
	// ledger.ErrBehind if the deciding node did not reach c.MinIndex in time. If no
	// node may decide the check, the reason is bucket.Unavailable and the error nil.
	Check(ctx context.Context, c *bucket.Check, d *bucket.Decision) error
}

// Proposer writes to the log.
type Proposer interface {
	// Propose applies at most ledger.MaxOps operations, in order; each succeeds or
	// fails independently. It returns the result of each operation and the log index
	// of the last. The error wraps ledger.ErrNoQuorum, ErrOutcomeUnknown or
	// ErrOverloaded.
	Propose(ctx context.Context, ops []ledger.Op) ([]ledger.Result, uint64, error)
}

// Settler settles and releases reservations on any node of the cluster.
type Settler interface {
	// Settle returns within a few seconds. An error means that no node that could
	// have the reservation answered.
	Settle(ctx context.Context, s *bucket.Settlement) (bucket.Settled, error)
}

// Reader makes reads linearizable.
type Reader interface {
	// ReadIndex returns a log index that covers every write acknowledged before the
	// call, confirmed by a majority. The error wraps ledger.ErrNoQuorum.
	ReadIndex(ctx context.Context) (uint64, error)
}

// View reads the replicated state of this node.
type View interface {
	Account(id string) *ledger.Account // nil if the account does not exist
	List(q ledger.Query) []*ledger.Account
	Entry(account, key string) (ledger.Entry, bool)
	Table() *ledger.Table
	Tokens() *ledger.Tokens
	// Audit is ledger.State.Audit.
	Audit(before uint64, limit int) (list []ledger.AuditRecord, more bool)
	Version() uint64 // of commands, in force
	Index() uint64   // last applied
	// WaitIndex waits until the index is applied. The error wraps ledger.ErrBehind
	// if ctx ends first.
	WaitIndex(ctx context.Context, index uint64) error
}

// Operator shows the state of the cluster and changes its membership and leadership.
type Operator interface {
	Cluster() ClusterStatus
	Ready() []Probe
	// Remove permanently removes a node from the cluster; by is the caller's name for
	// the audit. The error wraps ErrUnknownNode, ErrLastNode, ErrQuorumLoss,
	// ErrUnderWay if ctx ended first, ledger.ErrUpgrade or ledger.ErrNoQuorum.
	Remove(ctx context.Context, id, by string) error
	// Transfer transfers leadership to the node, or to any voter that can lead if to
	// is empty, and returns the new leader. The error wraps ErrUnknownNode,
	// ErrLastNode, ErrUnfit or ledger.ErrNoQuorum.
	Transfer(ctx context.Context, to string) (string, error)
	// Drain hands over all partitions of this node to other nodes. The error wraps
	// ErrLastNode, or ErrDraining if ctx ended before it was complete.
	Drain(ctx context.Context) error
}

// The errors of an Operator.
var (
	ErrUnknownNode = errors.New("the cluster has no node with that id")
	ErrLastNode    = errors.New("no other node can take over")
	ErrQuorumLoss  = errors.New("the remaining voters that answer are no majority; bring another voter back first")
	ErrUnfit       = errors.New("the node cannot lead now: it is not a voter, does not answer, lags behind or is leaving")
	ErrUnderWay    = errors.New("the removal is in progress; ask again")
	ErrDraining    = errors.New("the handover of this node's partitions is in progress; ask again")
)

// Archive makes and restores backups.
type Archive interface {
	// Freeze returns an immutable view of the current state. It uses memory as long
	// as it is referenced.
	Freeze() *ledger.Frozen
	// Restore reads and verifies a whole backup and, unless dry, restores it on all
	// nodes atomically; by is the caller's name for the audit. It returns the
	// description of the backup and the log index of the restore. The error wraps
	// ledger.ErrBadBackup, ErrRestoring, ErrNoRestore, ErrUpgrade, or is an error of
	// Propose.
	Restore(ctx context.Context, from io.Reader, dry bool, by string) (ledger.Backup, uint64, error)
}

// Metrics counts the requests of the API and exports all metrics of the node.
type Metrics interface {
	// Write writes all metrics in the Prometheus text format.
	Write(w io.Writer) error
	// Checked counts one decision; seconds is the time since the request was read.
	Checked(reason bucket.Reason, seconds float64)
	// Entered counts one ledger entry by its outcome: applied, replayed or
	// refused.
	Entered(t ledger.EntryType, outcome string)
}

// Access authenticates callers.
type Access interface {
	// Authenticate returns the caller that the token belongs to; an empty token
	// means that the request has none. ok is false if the token is not valid. While
	// the cluster has no tokens, every caller is ledger.ActorOpen. If ok is false
	// for ledger.ActorOpen, the node does not know all tokens yet.
	Authenticate(token []byte) (who ledger.Caller, ok bool)
	// Guarded reports whether this node has an admin token of its own, which no
	// change of the replicated tokens can remove.
	Guarded() bool
}

// Probe is one line of /readyz. A node is not ready if a Fatal probe fails.
type Probe struct {
	Name  string
	OK    bool
	Fatal bool
}

// ClusterStatus, NodeStatus, Guards and Settings are returned by Operator.Cluster.
type (
	ClusterStatus = wire.ClusterStatus
	NodeStatus    = wire.NodeStatus
	Guards        = wire.Guards
	Settings      = wire.Settings
)

// Config configures a Server. All fields except MaxConns, MaxRequests and Logger are
// required.
type Config struct {
	NodeID   string
	Checker  Checker
	Settler  Settler
	Reader   Reader
	Proposer Proposer
	View     View
	Operator Operator
	Archive  Archive
	Metrics  Metrics
	Access   Access
	// NewSecret returns a new random secret for a token.
	NewSecret func() string
	// MaxConns is the maximum number of open connections, MaxRequests that of requests
	// in progress. Further ones are refused as overloaded. 0 means the default.
	MaxConns, MaxRequests int
	Logger                *slog.Logger // nil: no logs
}

// The defaults of Config.
const (
	DefaultMaxConns    = 10_000
	DefaultMaxRequests = 4096
)

// validate returns an error if a required field is missing.
func (c *Config) validate() error {
	if c.NodeID == "" || c.Checker == nil || c.Settler == nil || c.Reader == nil || c.Proposer == nil || c.View == nil || c.Operator == nil || c.Archive == nil || c.Metrics == nil || c.Access == nil || c.NewSecret == nil {
		return errors.New("rest: the config lacks a required field")
	}
	return nil
}
