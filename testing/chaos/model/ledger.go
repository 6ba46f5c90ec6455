package model

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// Keys is the most idempotency keys that the history of an account may use: the model's
// state has one bit for each.
const Keys = 64

// Type is what an operation on the ledger is.
type Type string

// The types. Read is a linearizable read of the account.
const (
	Purchase   Type = "purchase"
	FreeCredit Type = "free_credit"
	Usage      Type = "usage"
	Payment    Type = "payment"
	Refund     Type = "refund"
	Read       Type = "read"
)

// Outcome is the result of an operation, as far as the client knows it.
type Outcome string

// The outcomes. An Unknown operation may have been applied or may be applied later.
const (
	Applied Outcome = "applied"
	Refused Outcome = "refused" // for lack of credits
	Unknown Outcome = "unknown"
)

// Op is one operation of a client on one account. Amounts are in millionths of a
// dollar.
type Op struct {
	Client   int
	Account  string
	Type     Type
	Key      int // its number within the account, below Keys; not for reads
	Amount   int64
	Asked    time.Duration // the first time
	Answered time.Duration // the last time
	Tries    int           // more than one: an earlier one may have been applied
	Outcome  Outcome
	Replayed bool
	Index    uint64
	Balances Balances // that the answer showed, of an applied one
	Node     string   // that answered
}

// Balances are an account's.
type Balances struct {
	Free, Purchased, Bill, Lifetime int64
}

// FinalAccount is an account as a node showed it at the end.
type FinalAccount struct {
	Node, Account string
	Balances      Balances
}

// Account is the state of the model, which follows the table of entries in the API's
// contract.
type Account struct {
	Balances
	Keys uint64
}

// Apply returns the state after an entry, and whether it was refused.
func (a Account) Apply(t Type, amount int64) (next Account, refused bool) {
	switch t {
	case Purchase:
		a.Purchased += amount
		a.Lifetime += amount
	case FreeCredit:
		a.Free += amount
	case Usage:
		free := min(amount, a.Free)
		a.Free -= free
		bought := min(amount-free, a.Purchased)
		a.Purchased -= bought
		a.Bill += amount - free - bought
	case Payment:
		bill := min(amount, a.Bill)
		a.Bill -= bill
		a.Purchased += amount - bill
		a.Lifetime += amount
	case Refund:
		if a.Purchased < amount {
			return a, true
		}
		a.Purchased -= amount
		a.Lifetime = max(0, a.Lifetime-amount)
	}
	return a, false
}

// Step reports whether an operation could have had its outcome in a state, and
// the state after it.
func Step(a Account, op Op) (bool, Account) {
	if op.Type == Read {
		return op.Balances == a.Balances, a
	}
	bit := uint64(1) << op.Key
	if a.Keys&bit != 0 {
		switch op.Outcome {
		case Applied:
			return op.Replayed && op.Balances == a.Balances, a
		case Unknown:
			return true, a
		}
		return false, a // a refused entry uses no key, and an applied one is replayed
	}
	next, refused := a.Apply(op.Type, op.Amount)
	if refused {
		return op.Outcome != Applied, a
	}
	next.Keys |= bit
	switch op.Outcome {
	case Unknown:
		return true, next
	case Refused:
		return false, a
	}
	// An entry that was sent again may have been applied by a try whose answer was lost.
	// Its balances are then those of a later state.
	if op.Replayed {
		return op.Tries > 1, next
	}
	return op.Balances == next.Balances, next
}

// Ledger is the model of one account for porcupine.
var Ledger = porcupine.Model{
	Init: func() any { return Account{} },
	Step: func(state, input, _ any) (bool, any) {
		ok, next := Step(state.(Account), input.(Op))
		return ok, next
	},
	DescribeOperation: func(input, _ any) string {
		op := input.(Op)
		if op.Type == Read {
			return fmt.Sprintf("%s: %v", op.Type, op.Balances)
		}
		again := ""
		if op.Replayed {
			again = ", replayed"
		}
		return fmt.Sprintf("k%d %s %d: %s%s %v", op.Key, op.Type, op.Amount, op.Outcome, again, op.Balances)
	},
	DescribeState: func(state any) string {
		a := state.(Account)
		return fmt.Sprintf("%v keys %x", a.Balances, a.Keys)
	},
}

// Operations returns the operations for porcupine. Those of unknown outcome stay open to
// the end, because they may be applied at any time after the request.
func Operations(ops []Op) []porcupine.Operation {
	end := time.Duration(0)
	for _, op := range ops {
		end = max(end, op.Answered)
	}
	var out []porcupine.Operation
	for _, op := range ops {
		answered := op.Answered
		if op.Outcome == Unknown {
			answered = end + time.Second
		}
		out = append(out, porcupine.Operation{ClientId: op.Client, Input: op, Output: op, Call: int64(op.Asked), Return: int64(answered)})
	}
	return out
}
