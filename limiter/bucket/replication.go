package bucket

import "time"

// Mode is how far an owner may be ahead of its copies.
type Mode uint8

// The modes of replication: Bounded by a slack, Sync not at all, Async without a
// bound.
const (
	Bounded Mode = iota
	Sync
	Async
)

// CutOff is the policy of a node that reaches no majority.
type CutOff uint8

// A node that is cut off admits its Share of burst and rate, as much as the owner would
// (Full), or nothing (Deny).
const (
	Share CutOff = iota
	Full
	Deny
)

// Replication is what the policy says of copies and partitions.
type Replication struct {
	Mode   Mode
	Slack  int64 // percent of the burst, 0 to 100
	CutOff CutOff
}

// ID names one bucket. The value of its limit is not part of it: use survives a change
// of the limit. A change of the algorithm begins another bucket.
type ID struct {
	Account   string
	Scope     string
	Unit      Unit
	Algorithm Algorithm
	Window    time.Duration
}

// Limit returns a limit with no more than the ID says.
func (id ID) Limit() Limit { return Limit{Unit: id.Unit, Algorithm: id.Algorithm, Window: id.Window} }
