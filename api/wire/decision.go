package wire

import (
	"strconv"
	"time"

	"quorate/fsm/ledger"
	"quorate/limiter/bucket"
)

// AppendDecision appends a decision as a JSON object; node is the id of the node
// that answers. It does not allocate if dst has room.
func AppendDecision(dst []byte, account, node string, d *bucket.Decision) []byte {
	return append(AppendDecisionMembers(append(dst, '{'), account, node, d), '}')
}

// AppendDecisionMembers is AppendDecision without the braces.
func AppendDecisionMembers(dst []byte, account, node string, d *bucket.Decision) []byte {
	dst = append(dst, `"allowed":`...)
	dst = appendBool(dst, d.Reason == bucket.OK)
	dst = append(dst, `,"reason":"`...)
	dst = append(dst, d.Reason.String()...)
	dst = append(dst, `","account":`...)
	dst = AppendString(dst, account)
	dst = append(dst, `,"tier":`...)
	dst = strconv.AppendInt(dst, int64(d.Tier), 10)
	dst = append(dst, `,"category":`...)
	dst = AppendString(dst, d.Category)
	dst = append(dst, `,"limits":[`...)
	for i := range d.Limits {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendStatus(dst, &d.Limits[i])
	}
	dst = append(dst, ']')
	dst = appendDenial(dst, d)
	dst = append(dst, `,"decided_by":`...)
	dst = AppendString(dst, d.DecidedBy)
	dst = append(dst, `,"node":`...)
	dst = AppendString(dst, node)
	dst = append(dst, `,"degraded":`...)
	dst = appendBool(dst, d.Degraded)
	if d.Reservation != "" {
		dst = append(dst, `,"reservation":`...)
		dst = AppendString(dst, d.Reservation)
	}
	return dst
}

// appendDenial appends retry_after_ms, and the members that depend on the reason.
func appendDenial(dst []byte, d *bucket.Decision) []byte {
	switch d.Reason {
	case bucket.FreeTier, bucket.TierAccess:
		dst = append(dst, `,"required_tier":`...)
		dst = strconv.AppendInt(dst, int64(d.RequiredTier), 10)
		dst = append(dst, `,"spend_needed":`...)
		dst = appendMoney(dst, ledger.Money(d.SpendNeeded))
	case bucket.RateLimited:
		if d.Hit >= 0 && d.Hit < len(d.Limits) {
			dst = append(dst, `,"limit_hit":`...)
			dst = AppendString(dst, d.Limits[d.Hit].Name)
		}
		if d.NeverFits {
			return append(dst, `,"never_fits":true,"retry_after_ms":null`...)
		}
		dst = append(dst, `,"retry_after_ms":`...)
		return strconv.AppendInt(dst, Ceil(d.RetryAfter, time.Millisecond), 10)
	}
	return append(dst, `,"retry_after_ms":0`...)
}

func appendStatus(dst []byte, st *bucket.Status) []byte {
	dst = appendLimit(dst, &st.Scoped)
	dst = append(dst, `,"remaining":`...)
	dst = strconv.AppendInt(dst, st.Remaining, 10)
	dst = append(dst, `,"reset_ms":`...)
	dst = strconv.AppendInt(dst, Ceil(st.Reset, time.Millisecond), 10)
	return appendSource(dst, &st.Scoped)
}

// appendLimit opens a limit's object; appendSource closes it.
func appendLimit(dst []byte, l *bucket.Scoped) []byte {
	dst = append(dst, `{"name":`...)
	dst = AppendString(dst, l.Name)
	dst = append(dst, `,"unit":"`...)
	dst = append(dst, l.Unit.String()...)
	dst = append(dst, `","limit":`...)
	dst = strconv.AppendInt(dst, l.Limit.Limit, 10)
	dst = append(dst, `,"burst":`...)
	dst = strconv.AppendInt(dst, l.Burst, 10)
	dst = append(dst, `,"window":"`...)
	dst = appendWindow(dst, l.Window)
	return append(dst, '"')
}

func appendSource(dst []byte, l *bucket.Scoped) []byte {
	dst = append(dst, `,"source":"`...)
	dst = append(dst, l.Source.String()...)
	return append(dst, `"}`...)
}

// appendWindow is bucket.FormatWindow without the allocation of a string.
func appendWindow(dst []byte, w time.Duration) []byte {
	secs := int64(w / time.Second)
	unit := byte('s')
	switch {
	case secs%86400 == 0:
		secs, unit = secs/86400, 'd'
	case secs%3600 == 0:
		secs, unit = secs/3600, 'h'
	case secs%60 == 0:
		secs, unit = secs/60, 'm'
	}
	return append(strconv.AppendInt(dst, secs, 10), unit)
}

// appendMoney appends an amount as a JSON string in the format of Money.String. It
// does not allocate, because each denial of an unknown account contains an amount.
func appendMoney(dst []byte, m ledger.Money) []byte {
	dst = append(dst, '"')
	if m < 0 {
		dst, m = append(dst, '-'), -m
	}
	dst = strconv.AppendInt(dst, int64(m/ledger.Dollar), 10)
	point := len(dst)
	// Adding a dollar keeps the leading zeros; the point then overwrites its digit.
	dst = strconv.AppendInt(dst, int64(m%ledger.Dollar+ledger.Dollar), 10)
	dst[point] = '.'
	for len(dst) > point+3 && dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return append(dst, '"')
}
