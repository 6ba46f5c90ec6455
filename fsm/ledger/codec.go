package ledger

import (
	"quorate/limiter/bucket"
	"quorate/limiter/codec"
)

// encode writes the account in the form of version v of commands.
func (a *Account) encode(w *codec.Writer, v uint64) {
	w.Array(9)
	w.String(a.ID)
	w.Uint(uint64(a.Plan))
	w.Bool(a.Suspended)
	w.Int(int64(a.Lifetime))
	w.Int(int64(a.Free))
	w.Int(int64(a.Purchased))
	w.Int(int64(a.OpenBill))
	w.Int(int64(a.UsageLimit))
	encodeOverrides(w, a.Overrides)
}

func (a *Account) decode(r *codec.Reader, v uint64) {
	r.Array(9)
	a.ID = r.String(bucket.MaxAccount)
	a.Plan = Plan(r.Below(len(planNames)))
	a.Suspended = r.Bool()
	a.Lifetime = Micros(r.Int())
	a.Free = Micros(r.Int())
	a.Purchased = Micros(r.Int())
	a.OpenBill = Micros(r.Int())
	a.UsageLimit = Micros(r.Int())
	a.Overrides = decodeOverrides(r)
}
