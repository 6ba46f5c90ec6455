package ledger

import (
	"quorate/limiter/bucket"
	"quorate/limiter/codec"
)

// version returns the first version of commands that can express the account.
func (a *Account) version() uint64 {
	return max(a.Lifetime.version(), a.Free.version(), a.Purchased.version(), a.OpenBill.version(), limitVersion(a.UsageLimit))
}

// encode writes the account in the form of version v of commands.
func (a *Account) encode(w *codec.Writer, v uint64) {
	w.Array(9)
	w.String(a.ID)
	w.Uint(uint64(a.Plan))
	w.Bool(a.Suspended)
	for _, m := range [...]Money{a.Lifetime, a.Free, a.Purchased, a.OpenBill} {
		m.encode(w, v)
	}
	encodeLimit(w, a.UsageLimit, v)
	encodeOverrides(w, a.Overrides)
}

func (a *Account) decode(r *codec.Reader, v uint64) {
	r.Array(9)
	a.ID = r.String(bucket.MaxAccount)
	a.Plan = Plan(r.Below(len(planNames)))
	a.Suspended = r.Bool()
	for _, m := range [...]*Money{&a.Lifetime, &a.Free, &a.Purchased, &a.OpenBill} {
		*m = decodeBalance(r, v, a.ID)
	}
	a.UsageLimit, _ = decodeLimit(r, v, a.ID)
	a.Overrides = decodeOverrides(r)
}
