package ledger

import "errors"

// The errors of a refused operation. They are the same on every replica.
var (
	ErrInsufficientCredits = errors.New("the account holds fewer purchased credits than the refund")
	ErrOverflow            = errors.New("the sum would overflow")
	ErrKeyReused           = errors.New("the key was used for an entry of another type or amount")
	ErrStaleEpoch          = errors.New("the ownership map has moved on")
	ErrUnknownCommand      = errors.New("this version does not know the command")
	ErrClusterID           = errors.New("the cluster has an id already")
	ErrKeyExpired          = errors.New("the entry was issued before the time since which keys are remembered")
	ErrRevision            = errors.New("the policy in force has another revision")
	ErrInvalidPolicy       = errors.New("the policy does not validate")
	ErrNotEmpty            = errors.New("the account still has credits or an open bill")
	ErrUnknownAccount      = errors.New("the account was never seen")
	ErrPastExpiry          = errors.New("an override would have expired already")
	ErrRestoring           = errors.New("a restore is under way; try again when it has ended")
	ErrNoRestore           = errors.New("the restore was given up or is not the one under way; begin again")
	ErrBadBackup           = errors.New("the backup is damaged, cut short or of another version")
	ErrUpgrade             = errors.New("not every node of the cluster knows this command yet; finish the upgrade")
	ErrTokenExists         = errors.New("a token has that name already")
	ErrTooManyTokens       = errors.New("there are as many tokens as there may be")
	ErrUnknownToken        = errors.New("no token has that name")
	ErrLastAdmin           = errors.New("no token with the admin scope would be left to change tokens")
)

// outcomes lists the refusals in the order of their codes on the wire; code 0
// is success. Append only.
var outcomes = []error{
	nil, ErrInsufficientCredits, ErrOverflow, ErrKeyReused, ErrStaleEpoch, ErrUnknownCommand, ErrClusterID,
	ErrKeyExpired, ErrRevision, ErrInvalidPolicy, ErrNotEmpty, ErrUnknownAccount, ErrPastExpiry,
	ErrRestoring, ErrNoRestore, ErrBadBackup, ErrUpgrade,
	ErrTokenExists, ErrTooManyTokens, ErrUnknownToken, ErrLastAdmin,
}

// The errors of a write or a read that the cluster could not finish.
var (
	ErrNoQuorum       = errors.New("no leader can be reached; the write was not sent")
	ErrOutcomeUnknown = errors.New("the write was sent and its outcome is not known; retry with the same key")
	ErrBehind         = errors.New("the node has not applied the log index asked for")
	ErrOverloaded     = errors.New("too many requests wait already")
)
