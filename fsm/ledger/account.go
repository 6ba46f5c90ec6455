// Package ledger is the replicated state: accounts, the policy, the ownership map,
// the idempotency keys, and the pure rules over them.
//
// State.Apply applies one command of the log. Its result depends only on the state and
// the command, not on a clock, on randomness or on the iteration order of a map, so all
// replicas are equal. Stored accounts are immutable; a change stores a new account, so
// readers do not wait for writers.
package ledger

import (
	"fmt"
	"math"
)

// Plan is the plan of an account.
type Plan uint8

// The plans. Scale and Enterprise accounts have access to every model, whatever their
// tier.
const (
	Build Plan = iota
	Scale
	Enterprise
)

var planNames = []string{"build", "scale", "enterprise"}

// String returns the plan's name in the API.
func (p Plan) String() string {
	if int(p) < len(planNames) {
		return planNames[p]
	}
	return "unknown"
}

// ParsePlan returns the plan with a name; ok is false if there is none.
func ParsePlan(s string) (p Plan, ok bool) {
	for i, n := range planNames {
		if n == s {
			return Plan(i), true
		}
	}
	return 0, false
}

// NoUsageLimit is the UsageLimit of an account that has none.
const NoUsageLimit Money = -1

// Account is the account of one customer. A stored account is immutable.
type Account struct {
	ID         string
	Plan       Plan
	Suspended  bool
	Lifetime   Money // total paid, less refunds and chargebacks
	Free       Money // free credits
	Purchased  Money // purchased credits
	OpenBill   Money
	UsageLimit Money      // NoUsageLimit, or the open bill at which the account blocks
	Overrides  *Overrides // nil: none
}

// NewAccount returns an account that has paid nothing.
func NewAccount(id string) Account { return Account{ID: id, UsageLimit: NoUsageLimit} }

// Blocked reports whether the usage limit blocks the account: the limit is set, no
// credits of either kind are left, and the open bill has reached the limit.
func (a *Account) Blocked() bool {
	return a.UsageLimit != NoUsageLimit && a.Free == 0 && a.Purchased == 0 && a.OpenBill >= a.UsageLimit
}

// EntryType is the type of an entry of the ledger.
type EntryType uint8

// The entry types.
const (
	Purchase EntryType = iota
	FreeCredit
	Usage
	Payment
	Refund
	Chargeback    // money that was taken back from outside, spent or not
	UsageReversal // usage that was wrong
)

var entryNames = []string{"purchase", "free_credit", "usage", "payment", "refund", "chargeback", "usage_reversal"}

// String returns the type's name in the API.
func (t EntryType) String() string {
	if int(t) < len(entryNames) {
		return entryNames[t]
	}
	return "unknown"
}

// ParseEntryType returns the type with a name; ok is false if there is none.
func ParseEntryType(s string) (t EntryType, ok bool) {
	for i, n := range entryNames {
		if n == s {
			return EntryType(i), true
		}
	}
	return 0, false
}

// Charge returns the account after an entry of the given type and amount. If the entry
// cannot be applied, it returns the account unchanged and an error that wraps
// ErrInsufficientCredits, ErrOverflow or, for an unknown type, ErrUnknownCommand.
func Charge(a Account, t EntryType, amount Money) (Account, error) {
	if amount <= 0 || amount > MaxAmount {
		return a, fmt.Errorf("amount %s: %w", amount, ErrOverflow)
	}
	b := a
	switch t {
	case Purchase:
		b.Purchased, b.Lifetime = add(b.Purchased, amount), add(b.Lifetime, amount)
	case FreeCredit:
		b.Free = add(b.Free, amount)
	case Usage:
		free := min(b.Free, amount)
		paid := min(b.Purchased, amount-free)
		b.Free, b.Purchased = b.Free-free, b.Purchased-paid
		b.OpenBill = add(b.OpenBill, amount-free-paid)
	case Payment:
		bill := min(b.OpenBill, amount)
		b.OpenBill -= bill
		b.Purchased, b.Lifetime = add(b.Purchased, amount-bill), add(b.Lifetime, amount)
	case Refund:
		if b.Purchased < amount {
			return a, ErrInsufficientCredits
		}
		b.Purchased, b.Lifetime = b.Purchased-amount, max(0, b.Lifetime-amount)
	case Chargeback:
		left := min(b.Purchased, amount)
		b.Purchased, b.Lifetime = b.Purchased-left, max(0, b.Lifetime-amount)
		b.OpenBill = add(b.OpenBill, amount-left)
	case UsageReversal:
		// The excess is free credit: a refund must not pay out what was never paid.
		bill := min(b.OpenBill, amount)
		b.OpenBill -= bill
		b.Free = add(b.Free, amount-bill)
	default:
		return a, fmt.Errorf("entry type %d: %w", t, ErrUnknownCommand)
	}
	if b.Purchased < 0 || b.Lifetime < 0 || b.Free < 0 || b.OpenBill < 0 {
		return a, ErrOverflow
	}
	return b, nil
}

// add returns the sum, or -1 if it overflows.
func add(a, b Money) Money {
	if a > math.MaxInt64-b {
		return -1
	}
	return a + b
}
