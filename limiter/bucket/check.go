package bucket

import "time"

// Check is one question: may this account make this request now?
type Check struct {
	Account  string
	Model    string // may be empty when Category is given
	Category string // may be empty when Model is given
	Requests int64  // 0 to MaxCost
	Tokens   int64  // 0 to MaxCost
	DryRun   bool   // decide without consuming
	Reserve  bool   // give a reservation with an allowed decision; never with DryRun
	MinIndex uint64 // the log index that the deciding node must have applied; 0: any
}

// AskRole is the role in which a node is asked to decide a check.
type AskRole uint8

// A node that is asked AsOwner decides only what it owns. One that is asked
// AsFallback asks the owner, whom the asking node cannot reach, or decides in the
// owner's place. One that is asked AsRelay asks the owner and no other node, or decides
// if it is the owner itself. A node never asks another in the role in which it was asked
// itself, so a check makes three hops at most.
const (
	AsOwner AskRole = iota
	AsFallback
	AsRelay
	NumAskRoles // how many there are
)

// Route is how one node asks another: in which role, and by the map of which
// epoch.
type Route struct {
	Role  AskRole
	Epoch uint64
}

// Cost returns what the check takes from a bucket of the given unit.
func (c *Check) Cost(u Unit) int64 {
	if u == Tokens {
		return c.Tokens
	}
	return c.Requests
}

// Reason is why a check was answered as it was.
type Reason uint8

// The reasons, in the order of the rules. UnknownModel is not a decision but an error of
// the caller.
const (
	OK Reason = iota
	Suspended
	FreeTier
	TierAccess
	UsageLimit
	RateLimited
	Unavailable
	UnknownModel
	NumReasons // how many there are
)

var reasonNames = [NumReasons]string{
	"ok", "suspended", "free_tier", "tier_access", "usage_limit", "rate_limited", "unavailable", "unknown_model",
}

// String returns the reason's name as users see it.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// Ruling is what the account and the policy say of a check before any bucket
// is asked: a denial, or the limits that must all have room. Limits is shared
// and must not be changed.
type Ruling struct {
	Reason       Reason // OK, or the denial
	Tier         int
	Category     string
	RequiredTier int   // FreeTier and TierAccess: the tier needed
	SpendNeeded  int64 // FreeTier and TierAccess: what is still missing, in nano-dollars
	Limits       []Scoped
}

// Status is one limit as it stands after a decision.
type Status struct {
	Scoped
	Remaining int64         // whole units left, never negative
	Reset     time.Duration // until nothing is owed
	Next      time.Duration // until one more whole unit is there; 0 when full
}

// Decision is the answer to a Check.
type Decision struct {
	Reason       Reason
	Tier         int
	Category     string
	RequiredTier int
	SpendNeeded  int64 // nano-dollars
	Limits       []Status
	Hit          int           // RateLimited: index in Limits of the longest wait, else -1
	RetryAfter   time.Duration // RateLimited: the largest wait of the limits hit
	NeverFits    bool          // RateLimited: the cost is above a limit's burst
	Reservation  string        // OK and Reserve: the id of the reservation; empty if there was no room for one
	DecidedBy    string        // node id
	Degraded     bool          // decided by a node that is not the owner
	Index        uint64        // the deciding node's applied index
}

// MaxReservation is the longest id of a reservation, in bytes.
const MaxReservation = 64

// Settlement corrects what a reservation took, or gives it back.
type Settlement struct {
	Account     string
	Reservation string
	Release     bool  // give requests and tokens back; Tokens and Amount do not count
	Tokens      int64 // used in fact, 0 to MaxCost
	Amount      int64 // nano-dollars recorded with it; compared only, to recognize a repetition
}

// Settled is what became of a Settlement.
type Settled uint8

// The outcomes of a Settlement.
const (
	SettledNow       Settled = iota
	SettledBefore            // the same settlement again: nothing was changed
	SettledOtherwise         // it was settled with other numbers, or released
	SettledUnknown           // expired, lost, or of another account
)
