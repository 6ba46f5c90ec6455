// Package bucket is one token bucket, one sliding window, and the vocabulary of a
// check.
//
// A token bucket holds what was used: whole units owed plus an exact fraction, the
// rate at which that debt decays, and the monotonic instant of the last touch.
// Arithmetic is in integers over a denominator of one window in nanoseconds, so
// nothing drifts. The package is pure: time is an argument, and nothing locks or does
// I/O.
package bucket

import (
	"fmt"
	"strconv"
	"time"
)

// Bounds on what a policy may ask of a limit.
const (
	MaxLimit  = 1_000_000_000       // units a window, and units of burst
	MaxCost   = 1_000_000_000       // units one request may cost
	MaxWindow = 31 * 24 * time.Hour // the longest window; windows are whole seconds
)

// Unit is what a limit counts.
type Unit uint8

// The units a limit can count.
const (
	Requests Unit = iota
	Tokens
)

// String returns the unit's name as users write it.
func (u Unit) String() string {
	if u == Tokens {
		return "tokens"
	}
	return "requests"
}

// ParseUnit reads a unit's name; ok is false for any other word.
func ParseUnit(s string) (u Unit, ok bool) {
	switch s {
	case "requests":
		return Requests, true
	case "tokens":
		return Tokens, true
	}
	return 0, false
}

// Algorithm is how use comes back.
type Algorithm uint8

// The algorithms. TokenBucket refills continuously: in any time t at most
// burst + limit x t / window. SlidingWindow admits at most limit in any window,
// whatever its start.
const (
	TokenBucket Algorithm = iota
	SlidingWindow
)

var algorithmNames = []string{"token_bucket", "sliding_window"}

// String returns the algorithm's name as users write it.
func (a Algorithm) String() string {
	if int(a) < len(algorithmNames) {
		return algorithmNames[a]
	}
	return "unknown"
}

// ParseAlgorithm reads an algorithm's name; ok is false for any other word.
func ParseAlgorithm(s string) (a Algorithm, ok bool) {
	for i, n := range algorithmNames {
		if n == s {
			return Algorithm(i), true
		}
	}
	return 0, false
}

// Limit is the size and speed of a bucket: Limit units a Window come back as
// Algorithm says, and at most Burst units can be owed.
type Limit struct {
	Unit      Unit
	Algorithm Algorithm
	Limit     int64         // units a window, 1 to MaxLimit
	Burst     int64         // units, 1 to MaxLimit; of a SlidingWindow, its Limit
	Window    time.Duration // whole seconds, 1 s to MaxWindow
}

// Source is the rule that a limit comes from.
type Source uint8

// The rules a limit can come from.
const (
	SourceTier Source = iota
	SourceException
	SourceOverride
)

// String returns the source's name as users see it.
func (s Source) String() string {
	switch s {
	case SourceException:
		return "exception"
	case SourceOverride:
		return "override"
	}
	return "tier"
}

// Scoped is a limit with the scope that its bucket belongs to. Name is
// scope-unit-window, made once when a policy is compiled.
type Scoped struct {
	Limit
	Scope  string
	Name   string
	Source Source
}

// NewScoped joins a scope and a limit and makes the name.
func NewScoped(scope string, l Limit, src Source) Scoped {
	return Scoped{
		Limit: l, Scope: scope, Source: src,
		Name: scope + "-" + l.Unit.String() + "-" + FormatWindow(l.Window),
	}
}

// FormatWindow writes a window in its largest whole unit: 1m, 90s, 24h as 1d.
func FormatWindow(w time.Duration) string {
	secs := int64(w / time.Second)
	switch {
	case secs%86400 == 0:
		return strconv.FormatInt(secs/86400, 10) + "d"
	case secs%3600 == 0:
		return strconv.FormatInt(secs/3600, 10) + "h"
	case secs%60 == 0:
		return strconv.FormatInt(secs/60, 10) + "m"
	}
	return strconv.FormatInt(secs, 10) + "s"
}

// ParseWindow reads a window such as 90s, 1m, 24h or 31d: whole numbers of one
// unit, 1 s to MaxWindow.
func ParseWindow(s string) (time.Duration, error) {
	bad := fmt.Errorf("window %q: want whole seconds from 1s to 31d, such as 90s, 1m, 24h or 31d", s)
	if len(s) < 2 || len(s) > 9 || s[0] < '1' || s[0] > '9' {
		return 0, bad
	}
	n, err := strconv.ParseInt(s[:len(s)-1], 10, 64)
	if err != nil {
		return 0, bad
	}
	unit := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[s[len(s)-1]]
	if unit == 0 || n > int64(MaxWindow/unit) {
		return 0, bad
	}
	return time.Duration(n) * unit, nil
}

// Validate reports the first of the limit's numbers that is out of bounds.
func (l Limit) Validate() error {
	switch {
	case l.Limit < 1 || l.Limit > MaxLimit:
		return fmt.Errorf("limit %d: want 1 to %d", l.Limit, MaxLimit)
	case l.Burst < 1 || l.Burst > MaxLimit:
		return fmt.Errorf("burst %d: want 1 to %d", l.Burst, MaxLimit)
	case l.Window < time.Second || l.Window > MaxWindow || l.Window%time.Second != 0:
		return fmt.Errorf("window %s: want whole seconds from 1s to 31d", l.Window)
	}
	return nil
}
