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
)

// outcomes lists the refusals in the order of their codes on the wire; code 0
// is success. Append only.
var outcomes = []error{
	nil, ErrInsufficientCredits, ErrOverflow, ErrKeyReused, ErrStaleEpoch, ErrUnknownCommand, ErrClusterID,
}

// The errors of a write or a read that the cluster could not finish.
var (
	ErrNoQuorum       = errors.New("no leader can be reached; the write was not sent")
	ErrOutcomeUnknown = errors.New("the write was sent and its outcome is not known; retry with the same key")
	ErrBehind         = errors.New("the node has not applied the log index asked for")
	ErrOverloaded     = errors.New("too many requests wait already")
)
