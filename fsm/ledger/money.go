package ledger

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"quorate/limiter/codec"
)

// Money is an amount in thousand-millionths of a US dollar (nano-dollars).
type Money int64

// Dollar is one US dollar. MaxAmount is the largest amount of one entry.
const (
	Dollar    Money = 1_000_000_000
	MaxAmount       = 1_000_000_000 * Dollar
)

// micro is a micro-dollar, the unit of amounts before nanoVersion.
const micro = Dollar / 1_000_000

// decimals is the number of decimals of an amount.
const decimals = "000000000"

// ErrMoney is the error of a string that is not an amount of money.
var ErrMoney = errors.New(`want dollars as a string with at most nine decimals, such as "5.00", up to "1000000000.00"`)

// ErrBalance is wrapped by the errors about a sum that was counted in micro-dollars and is
// too large for nano-dollars. This program cannot go on with such a state: the program of
// the version before can.
var ErrBalance = errors.New("it is more than $" + Money(math.MaxInt64).String() + ", the most that this version of the program can hold; keep the version before")

// ParseMoney parses an amount in dollars: digits without leading zeros and at most nine
// decimals, from 0 to MaxAmount. It returns ErrMoney for any other string.
func ParseMoney(s string) (Money, error) {
	whole, frac, dot := strings.Cut(s, ".")
	if whole == "" || len(whole) > 10 || (whole[0] == '0' && len(whole) > 1) || (dot && frac == "") || len(frac) > len(decimals) {
		return 0, ErrMoney
	}
	var v uint64 // up to 10^19
	for _, c := range []byte(whole + frac + decimals[len(frac):]) {
		if c < '0' || c > '9' {
			return 0, ErrMoney
		}
		v = v*10 + uint64(c-'0')
	}
	if v > uint64(MaxAmount) {
		return 0, ErrMoney
	}
	return Money(v), nil
}

// String returns the amount in dollars with two decimals, or more if needed.
func (m Money) String() string {
	sign := ""
	if m < 0 {
		sign, m = "-", -m
	}
	frac := strconv.FormatInt(int64(m%Dollar)+int64(Dollar), 10)[1:]
	for len(frac) > 2 && frac[len(frac)-1] == '0' {
		frac = frac[:len(frac)-1]
	}
	return sign + strconv.FormatInt(int64(m/Dollar), 10) + "." + frac
}

// version returns the first version of commands that can express the amount.
func (m Money) version() uint64 {
	if m%micro != 0 {
		return nanoVersion
	}
	return firstVersion
}

// in returns the amount in the unit of version v of commands.
func (m Money) in(v uint64) int64 {
	if v >= nanoVersion {
		return int64(m)
	}
	return int64(m / micro)
}

// encode writes the amount in the unit of version v, which must be able to express it.
func (m Money) encode(w *codec.Writer, v uint64) {
	if m.version() > v {
		w.Fail(fmt.Errorf("$%s in commands of version %d: %w", m, v, ErrUpgrade))
	}
	w.Int(m.in(v))
}

// moneyIn converts an amount from the unit of version v. ok is false for one that does not
// fit; it is then the nearest amount that does.
func moneyIn(n int64, v uint64) (m Money, ok bool) {
	const most = int64(math.MaxInt64 / micro)
	switch {
	case v >= nanoVersion:
		return Money(n), true
	case n > most:
		return math.MaxInt64, false
	case n < -most:
		return -math.MaxInt64, false
	}
	return Money(n) * micro, true
}

// decodeBalance reads a sum that the account with that id has. It fails with ErrBalance if
// the sum does not fit.
func decodeBalance(r *codec.Reader, v uint64, id string) Money {
	n := r.Int()
	m, ok := moneyIn(n, v)
	if !ok {
		r.Fail(fmt.Errorf("account %q has $%d.%06d: %w", id, n/1_000_000, max(n, -n)%1_000_000, ErrBalance))
	}
	return m
}

// A usage limit is an amount or NoUsageLimit, which is -1 in both units.

func limitVersion(m Money) uint64 {
	if m == NoUsageLimit {
		return firstVersion
	}
	return m.version()
}

func limitIn(m Money, v uint64) int64 {
	if m == NoUsageLimit {
		return int64(m)
	}
	return m.in(v)
}

func encodeLimit(w *codec.Writer, m Money, v uint64) {
	if m == NoUsageLimit {
		w.Int(int64(m))
		return
	}
	m.encode(w, v)
}

// decodeLimit reads a usage limit of the account with that id. ok is false for none, which
// is a smaller number than NoUsageLimit.
func decodeLimit(r *codec.Reader, v uint64, id string) (m Money, ok bool) {
	n := r.IntIn(noLimitGiven, math.MaxInt64)
	if n < 0 {
		return Money(n), n == int64(NoUsageLimit)
	}
	if m, ok = moneyIn(n, v); !ok {
		r.Fail(fmt.Errorf("account %q has a usage limit of $%s or more: %w", id, m, ErrBalance))
	}
	return m, true
}

// noLimitGiven stands in a patch for a usage limit that it does not change.
const noLimitGiven = -2
