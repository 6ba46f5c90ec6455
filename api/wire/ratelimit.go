package wire

import (
	"strconv"
	"time"

	"quorate/limiter/bucket"
)

// AppendRateLimitPolicy appends the value of the RateLimit-Policy header for the
// limits, according to draft-ietf-httpapi-ratelimit-headers-10.
func AppendRateLimitPolicy(dst []byte, limits []bucket.Status) []byte {
	for i := range limits {
		l := &limits[i]
		dst = appendItem(dst, i, l.Name)
		dst = append(dst, ";q="...)
		dst = strconv.AppendInt(dst, l.Limit.Limit, 10)
		if l.Unit == bucket.Tokens {
			dst = append(dst, `;qu="tokens"`...)
		}
		dst = append(dst, ";w="...)
		dst = strconv.AppendInt(dst, int64(l.Window/time.Second), 10)
	}
	return dst
}

// AppendRateLimit appends the value of the RateLimit header: for each limit the
// remaining units and the seconds until one more unit is available. For the limit
// that was hit, the seconds are those until the same check fits.
func AppendRateLimit(dst []byte, d *bucket.Decision) []byte {
	for i := range d.Limits {
		l := &d.Limits[i]
		wait := l.Next
		if d.Reason == bucket.RateLimited && i == d.Hit && !d.NeverFits {
			wait = d.RetryAfter
		}
		dst = appendItem(dst, i, l.Name)
		dst = append(dst, ";r="...)
		dst = strconv.AppendInt(dst, l.Remaining, 10)
		dst = append(dst, ";t="...)
		dst = strconv.AppendInt(dst, Ceil(wait, time.Second), 10)
	}
	return dst
}

// appendItem appends the start of the i-th item of a structured field list
// (RFC 9651): name as a string, in which only the quote and the backslash need an
// escape.
func appendItem(dst []byte, i int, name string) []byte {
	if i > 0 {
		dst = append(dst, ", "...)
	}
	dst = append(dst, '"')
	for _, c := range []byte(name) {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
