package ledger

import "errors"

// The errors of a refused operation. Every replica returns the same error.
var (
	ErrInsufficientCredits = errors.New("the account holds fewer purchased credits than the refund")
	ErrOverflow            = errors.New("the sum would overflow")
	ErrKeyReused           = errors.New("the key was used for an entry of another type or amount")
	ErrStaleEpoch          = errors.New("the ownership map has moved on")
	ErrUnknownCommand      = errors.New("this version of the program does not know the command")
	ErrClusterID           = errors.New("the cluster already has an id")
	ErrKeyExpired          = errors.New("the entry was issued before the oldest time of which all keys are remembered")
	ErrRevision            = errors.New("the policy in force has another revision")
	ErrInvalidPolicy       = errors.New("the policy is invalid")
	ErrNotEmpty            = errors.New("the account still has credits or an open bill")
	ErrUnknownAccount      = errors.New("the account does not exist")
	ErrPastExpiry          = errors.New("an override has already expired")
	ErrRestoring           = errors.New("a restore is in progress; try again after it")
	ErrNoRestore           = errors.New("the restore was abandoned or is not the one in progress; start it again")
	ErrBadBackup           = errors.New("the backup is damaged, truncated or of another version")
	ErrUpgrade             = errors.New("not every node of the cluster knows this command yet; finish the upgrade")
	ErrTokenExists         = errors.New("a token with that name already exists")
	ErrTooManyTokens       = errors.New("the maximum number of tokens is reached")
	ErrUnknownToken        = errors.New("no token with that name exists")
	ErrLastAdmin           = errors.New("no token with the admin scope would be left")
	ErrUnknownReservation  = errors.New("the cluster did not give this reservation to this account")
	ErrIssuedInFuture      = errors.New("issued_at is more than a minute ahead of the log's time, which /v1/cluster shows")
)

// outcomes lists the errors in the order of their codes on the wire; code 0 is success.
// Append only.
var outcomes = []error{
	nil, ErrInsufficientCredits, ErrOverflow, ErrKeyReused, ErrStaleEpoch, ErrUnknownCommand, ErrClusterID,
	ErrKeyExpired, ErrRevision, ErrInvalidPolicy, ErrNotEmpty, ErrUnknownAccount, ErrPastExpiry,
	ErrRestoring, ErrNoRestore, ErrBadBackup, ErrUpgrade,
	ErrTokenExists, ErrTooManyTokens, ErrUnknownToken, ErrLastAdmin,
	ErrIssuedInFuture, ErrUnknownReservation,
}

// The errors of a write or a read that the cluster could not complete.
var (
	ErrNoQuorum       = errors.New("no leader is reachable; the write was not sent")
	ErrOutcomeUnknown = errors.New("the write was sent and its outcome is unknown; retry with the same key")
	ErrBehind         = errors.New("the node has not applied the requested log index")
	ErrOverloaded     = errors.New("too many requests are waiting")
)
