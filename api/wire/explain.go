package wire

import (
	"encoding/json"
	"strconv"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// AppendExplanation appends the members of an explanation that follow its
// decision.
func AppendExplanation(dst []byte, steps []ledger.Step, limits []bucket.Status, st ledger.Standing) []byte {
	dst = append(dst, `,"rules":[`...)
	for i, s := range steps {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"rule":`...)
		dst = AppendString(dst, s.Rule)
		dst = append(dst, `,"outcome":`...)
		dst = AppendString(dst, s.Outcome)
		dst = append(dst, `,"detail":`...)
		dst = append(AppendString(dst, s.Detail), '}')
	}
	dst = append(dst, `],"limits":[`...)
	for i := range limits {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendStatus(dst, &limits[i])
	}
	dst = append(dst, `],"next_tier":`...)
	return appendNextTier(dst, &st)
}

// appendNextTier appends the next tier and the spend that it still needs, or null.
func appendNextTier(dst []byte, st *ledger.Standing) []byte {
	if st.Next == 0 {
		return append(dst, "null"...)
	}
	dst = append(dst, `{"tier":`...)
	dst = strconv.AppendInt(dst, int64(st.Next), 10)
	dst = append(dst, `,"spend_needed":`...)
	return append(appendMoney(dst, st.NextNeeded), '}')
}

// Explanation is the answer to GET /v1/explain: a decision and the rules that lead
// to it.
type Explanation struct {
	Decision CheckResponse `json:"decision"`
	Rules    []struct {
		Rule    string `json:"rule"`
		Outcome string `json:"outcome"`
		Detail  string `json:"detail"`
	} `json:"rules"`
	Limits   []LimitStatus `json:"limits"`
	NextTier *NextTier     `json:"next_tier"`

	Raw json.RawMessage `json:"-"` // the body as received
}
