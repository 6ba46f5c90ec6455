package cluster

import (
	"context"

	"quorate/fsm/ledger"
)

type writeFunc func(context.Context, []ledger.Op) ([]ledger.Result, uint64, error)

func refusedBy(refuse func(ledger.Op) error) func(ledger.Op) bool {
	return func(op ledger.Op) bool { return refuse(op) != nil }
}

// ofVersion refuses operations that a version of commands does not have.
func ofVersion(version uint64) func(ledger.Op) error {
	return func(op ledger.Op) error {
		if ledger.VersionOf([]ledger.Op{op}) > version {
			return ledger.ErrUpgrade
		}
		return nil
	}
}

// allowed writes those of the operations that are not refused. If there are none, the
// index of the answer is the one applied.
func allowed(ctx context.Context, ops []ledger.Op, applied uint64, refuse func(ledger.Op) error, write writeFunc) (_ []ledger.Result, index uint64, err error) {
	all := make([]ledger.Result, len(ops))
	var known []ledger.Op
	for i := range ops {
		if all[i].Err = refuse(ops[i]); all[i].Err == nil {
			known = append(known, ops[i])
		}
	}
	if len(known) == 0 {
		return all, applied, nil
	}
	results, index, err := write(ctx, known)
	if err != nil {
		return nil, 0, err
	}
	for i := range all {
		if all[i].Err == nil && len(results) > 0 {
			all[i], results = results[0], results[1:]
		}
	}
	return all, index, nil
}
