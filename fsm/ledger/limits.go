package ledger

import (
	"strconv"

	"quorate/limiter/bucket"
)

// scoped compiles a list of limits and records their errors.
func (w *validator) scoped(scope, at string, rules []LimitRule, src bucket.Source) []bucket.Scoped {
	out := make([]bucket.Scoped, 0, len(rules))
	for i, r := range rules {
		at := at + "[" + strconv.Itoa(i) + "]"
		l := w.compile(r, at)
		for _, other := range out {
			if other.Unit == l.Unit && other.Window == l.Window {
				w.fault(at, "a second limit with the same unit and window")
			}
		}
		out = append(out, bucket.NewScoped(scope, l, src))
	}
	return out
}

// compile compiles one limit and records its errors.
func (w *validator) compile(r LimitRule, at string) bucket.Limit {
	l := bucket.Limit{Limit: r.Limit, Burst: r.Burst}
	var ok bool
	var err error
	if l.Unit, ok = bucket.ParseUnit(r.Unit); !ok {
		w.fault(at+".unit", "want requests or tokens")
	}
	if l.Window, err = bucket.ParseWindow(r.Window); err != nil {
		w.fault(at+".window", "%v", err)
	}
	if r.Algorithm != "" {
		if l.Algorithm, ok = bucket.ParseAlgorithm(r.Algorithm); !ok {
			w.fault(at+".algorithm", "want token_bucket or sliding_window")
		}
	}
	if l.Algorithm == bucket.SlidingWindow && r.Burst != 0 {
		w.fault(at+".burst", "a sliding_window has no burst")
	}
	if l.Limit < 1 || l.Limit > bucket.MaxLimit {
		w.fault(at+".limit", "want an integer from 1 to %d", bucket.MaxLimit)
	}
	if l.Burst == 0 {
		l.Burst = l.Limit
	}
	if l.Burst < 0 || l.Burst > bucket.MaxLimit {
		w.fault(at+".burst", "want an integer from 1 to %d", bucket.MaxLimit)
	}
	return l
}

// Rules converts compiled limits back to the form of a document.
func Rules(limits []bucket.Scoped) []LimitRule {
	out := make([]LimitRule, 0, len(limits))
	for _, l := range limits {
		r := LimitRule{Unit: l.Unit.String(), Limit: l.Limit.Limit, Window: bucket.FormatWindow(l.Window)}
		if l.Burst != l.Limit.Limit {
			r.Burst = l.Burst
		}
		if l.Algorithm != bucket.TokenBucket {
			r.Algorithm = l.Algorithm.String()
		}
		out = append(out, r)
	}
	return out
}
