package validate

import (
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"quorate/testing/chaos/model"
)

// patience is the longest check of the history of one account.
const patience = 30 * time.Second

// Linearizable checks with porcupine that an order of the operations of each account
// explains all answers.
func Linearizable(h *model.History) Result {
	r := Result{Invariant: "linearizable ledger", OK: true, Bound: "every account's answers have an order that explains them"}
	unknown := 0
	by, names := accounts(h.Ops)
	for _, op := range h.Ops {
		if op.Outcome == model.Unknown {
			unknown++
		}
	}
	for _, name := range names {
		switch porcupine.CheckOperationsTimeout(model.Ledger, model.Operations(by[name]), patience) {
		case porcupine.Illegal:
			r.fail("%s: no order of its %d operations explains the answers", name, len(by[name]))
		case porcupine.Unknown:
			r.fail("%s: not decided within %s, %d operations", name, patience, len(by[name]))
		}
	}
	r.Figure = fmt.Sprintf("%d operations on %d accounts, %d of unknown outcome", len(h.Ops), len(names), unknown)
	if len(h.Ops) == 0 {
		r.fail("there was no operation")
	}
	return r
}

// Picture returns the operations of the account for the report: one that is not
// linearizable, else the one with the most unknown outcomes.
func Picture(h *model.History) (account string, ops []model.Op) {
	by, names := accounts(h.Ops)
	most := -1
	for _, name := range names {
		if porcupine.CheckOperationsTimeout(model.Ledger, model.Operations(by[name]), patience) == porcupine.Illegal {
			return name, by[name]
		}
		open := 0
		for _, op := range by[name] {
			if op.Outcome == model.Unknown || op.Tries > 1 {
				open++
			}
		}
		if open > most {
			most, account = open, name
		}
	}
	return account, by[account]
}

func accounts(ops []model.Op) (by map[string][]model.Op, names []string) {
	by = map[string][]model.Op{}
	for _, op := range ops {
		if by[op.Account] == nil {
			names = append(names, op.Account)
		}
		by[op.Account] = append(by[op.Account], op)
	}
	return by, names
}

// ExactlyOnce checks that each acknowledged key has its acknowledged index at the end,
// and that the balances on every node are the sum of the keys, each counted once.
func ExactlyOnce(h *model.History) Result {
	r := Result{Invariant: "each entry exactly once", OK: true, Bound: "no acknowledged key lost, none twice, balances exact on every node"}
	if !h.Audited {
		r.fail("not all could be asked for at the end")
		return r
	}
	acknowledged := 0
	by, names := accounts(h.Ops)
	finals := map[string][]model.FinalAccount{}
	for _, f := range h.Final {
		finals[f.Account] = append(finals[f.Account], f)
	}
	for _, name := range names {
		there := h.Looked[name]
		var net, lifetime int64
		counted := map[int]bool{}
		indexes := map[int]uint64{}
		for _, op := range by[name] {
			if op.Type == model.Read {
				continue
			}
			index, applied := there[op.Key]
			if op.Outcome == model.Applied {
				acknowledged++
				if was := indexes[op.Key]; was != 0 && was != op.Index {
					r.fail("%s: key %d was acknowledged at index %d and at %d", name, op.Key, was, op.Index)
				}
				indexes[op.Key] = op.Index
				switch {
				case !applied:
					r.fail("%s: key %d, acknowledged at index %d, is lost", name, op.Key, op.Index)
				case index != op.Index:
					r.fail("%s: key %d was acknowledged at index %d, and is there at %d", name, op.Key, op.Index, index)
				}
			}
			if !applied || counted[op.Key] {
				continue
			}
			counted[op.Key] = true
			switch op.Type {
			case model.Purchase, model.Payment:
				net, lifetime = net+op.Amount, lifetime+op.Amount
			case model.Refund:
				net, lifetime = net-op.Amount, lifetime-op.Amount
			case model.FreeCredit:
				net += op.Amount
			case model.Usage:
				net -= op.Amount
			}
		}
		if len(counted) > 0 && len(finals[name]) != len(h.Nodes) {
			r.fail("%s: %d of %d nodes showed it at the end", name, len(finals[name]), len(h.Nodes))
		}
		for _, f := range finals[name] {
			b := f.Balances
			if got := b.Free + b.Purchased - b.Bill; got != net || b.Lifetime != lifetime {
				r.fail("%s at %s: credits less bill are %d, lifetime spend is %d; the entries make %d and %d", name, f.Node, got, b.Lifetime, net, lifetime)
			}
		}
	}
	r.Figure = fmt.Sprintf("%d acknowledgements checked on %d accounts", acknowledged, len(names))
	return r
}

// SameState checks that all nodes hold the same at the end.
func SameState(h *model.History) Result {
	r := Result{Invariant: "same state on all nodes", OK: true, Bound: "equal hashes of accounts, keys, policy and tokens"}
	if !h.Audited {
		r.fail("not all could be asked for at the end")
		return r
	}
	var hashes []string
	for _, n := range h.Nodes {
		hashes = append(hashes, h.Content[n])
		if h.Content[n] == "" {
			r.fail("nothing is known of %s", n)
		}
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(hashes))); len(distinct) != 1 {
		r.fail("%v hold %v", h.Nodes, hashes)
	}
	r.Figure = fmt.Sprintf("%d nodes hold %.12s", len(h.Nodes), hashes[0])
	return r
}
