// Package rest answers the HTTP API: it reads requests, asks the parts of the
// node through the interfaces below, and writes JSON. It decides nothing
// itself. All the calls of the interfaces may overlap.
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

// Checker decides checks, wherever in the cluster their buckets are.
type Checker interface {
	// Check fills d, whose Limits may have room to append to. It keeps none of
	// the strings of c, which are views of the request, and ends by itself
	// within a few seconds, because ctx has no deadline. An error wraps
	// ledger.ErrBehind when c.MinIndex could not be waited for; a check that no
	// node may decide is no error but bucket.Unavailable.
	Check(ctx context.Context, c *bucket.Check, d *bucket.Decision) error
}

// Proposer writes through the log.
type Proposer interface {
	// Propose applies operations, at most ledger.MaxOps, each on its own and in
	// order, and returns a result for each and the log index of the last. Its
	// error wraps ledger.ErrNoQuorum, ErrOutcomeUnknown or ErrOverloaded.
	Propose(ctx context.Context, ops []ledger.Op) ([]ledger.Result, uint64, error)
}

// Settler settles and releases reservations, wherever they are kept.
type Settler interface {
	// Settle answers within a few seconds. An error means that no node that
	// could know the reservation was reached.
	Settle(ctx context.Context, s *bucket.Settlement) (bucket.Settled, error)
}

// Reader makes reads linearizable.
type Reader interface {
	// ReadIndex returns a log index that covers every write acknowledged before
	// the call, confirmed with a majority. Its error wraps ledger.ErrNoQuorum.
	ReadIndex(ctx context.Context) (uint64, error)
}

// View reads this node's copy of the replicated state.
type View interface {
	Account(id string) *ledger.Account // nil: never seen
	List(q ledger.Query) []*ledger.Account
	Entry(account, key string) (ledger.Entry, bool)
	Table() *ledger.Table
	Tokens() *ledger.Tokens
	// Audit is as ledger.State has it.
	Audit(before uint64, limit int) (list []ledger.AuditRecord, more bool)
	Index() uint64 // applied
	// WaitIndex waits until the index is applied, or returns ledger.ErrBehind
	// when ctx ends first.
	WaitIndex(ctx context.Context, index uint64) error
}

// Operator tells of the cluster and of this process.
type Operator interface {
	Cluster() ClusterStatus
	Ready() []Probe
	// Remove takes a node out of the cluster for good, by order of a token's
	// name. Its error wraps ErrUnknownNode, ErrLastNode, ErrQuorumLoss,
	// ErrUnderWay when ctx ended first, ledger.ErrUpgrade or ledger.ErrNoQuorum.
	Remove(ctx context.Context, id, by string) error
	// Transfer has another node lead, any fit one where to is empty, and returns
	// which. Its error wraps ErrUnknownNode, ErrLastNode, ErrUnfit or
	// ledger.ErrNoQuorum.
	Transfer(ctx context.Context, to string) (string, error)
	// Drain hands what this node owns over to others. Its error wraps ErrLastNode,
	// or ErrDraining when ctx ended before all of it was.
	Drain(ctx context.Context) error
}

// The errors of an Operator.
var (
	ErrUnknownNode = errors.New("no node of the cluster has that id")
	ErrLastNode    = errors.New("there is no other node that could take over")
	ErrQuorumLoss  = errors.New("without it no majority of the nodes with a vote would answer; bring another one back first")
	ErrUnfit       = errors.New("the node cannot lead now: it has no vote, does not answer, lags or is leaving")
	ErrUnderWay    = errors.New("the removal is ordered and under way; ask again")
	ErrDraining    = errors.New("not everything was handed over yet; it goes on, ask again")
)

// Archive makes and takes backups.
type Archive interface {
	// Freeze returns the state as it stands; it is held until nobody has it.
	Freeze() *ledger.Frozen
	// Restore reads a backup to its end, checks it, and unless dry replaces by it
	// what it holds, on all nodes, whole or not at all; by is for the audit. It returns what the backup
	// is of and the log index of the change. Its error wraps ledger.ErrBadBackup,
	// ErrRestoring, ErrNoRestore, ErrUpgrade, or is one of Propose.
	Restore(ctx context.Context, from io.Reader, dry bool, by string) (ledger.Backup, uint64, error)
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

// Access knows who asks.
type Access interface {
	// Who returns whose the token is; empty is none. While no token is in force,
	// everybody is ledger.ActorOpen. That name and not ok: it cannot be known yet.
	Who(token []byte) (who ledger.Caller, ok bool)
	// Guarded reports whether this node has an admin token of its own, which no
	// change of tokens can take away.
	Guarded() bool
}

// Probe is one line of /readyz. Only Fatal ones that fail make a node not
// ready.
type Probe struct {
	Name  string
	OK    bool
	Fatal bool
}

// ClusterStatus, NodeStatus and Guards are what an Operator fills.
type (
	ClusterStatus = wire.ClusterStatus
	NodeStatus    = wire.NodeStatus
	Guards        = wire.Guards
)

// Config is what a Server is made of.
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
	// NewSecret returns a secret for a token that nobody can guess.
	NewSecret func() string
	// MaxConns and MaxRequests bound what is open and what is being answered at
	// once; more is refused as overloaded. 0 is the default.
	MaxConns, MaxRequests int
	Logger                *slog.Logger // nil: nothing is logged
}

// The defaults of the bounds.
const (
	DefaultMaxConns    = 10_000
	DefaultMaxRequests = 4096
)

// Validate reports what is missing.
func (c *Config) Validate() error {
	if c.NodeID == "" || c.Checker == nil || c.Settler == nil || c.Reader == nil || c.Proposer == nil || c.View == nil || c.Operator == nil || c.Archive == nil || c.Metrics == nil || c.Access == nil || c.NewSecret == nil {
		return errors.New("rest: the config needs all but a logger")
	}
	return nil
}
