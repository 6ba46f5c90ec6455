package node

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Span is a duration in a setting. It is written as Go writes durations (90s, 1h30m), and
// also in whole days (90d).
type Span time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Span) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return fmt.Errorf("%q: want a duration, such as 90s, 1h30m or 7d", text)
		}
		*s = Span(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q: want a duration, such as 90s, 1h30m or 7d", text)
	}
	*s = Span(d)
	return nil
}

// String returns the duration without units of zero at its end, such as 168h.
func (s Span) String() string {
	text := time.Duration(s).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
