package ledger

import (
	"errors"
	"strconv"
	"strings"
)

// Micros is an amount of money in millionths of a US dollar.
type Micros int64

// Dollar is one US dollar. MaxAmount is the largest amount of one entry.
const (
	Dollar    Micros = 1_000_000
	MaxAmount        = 1_000_000_000 * Dollar
)

// ErrMoney is the error of a string that is not an amount of money.
var ErrMoney = errors.New(`want dollars as a string with at most six decimals, such as "5.00", up to "1000000000.00"`)

// ParseMoney parses an amount in dollars: digits without leading zeros and at most six
// decimals, from 0 to MaxAmount. It returns ErrMoney for any other string.
func ParseMoney(s string) (Micros, error) {
	whole, frac, dot := strings.Cut(s, ".")
	if whole == "" || len(whole) > 10 || (whole[0] == '0' && len(whole) > 1) || (dot && frac == "") || len(frac) > 6 {
		return 0, ErrMoney
	}
	var v Micros
	for _, c := range []byte(whole + frac + "000000"[len(frac):]) {
		if c < '0' || c > '9' {
			return 0, ErrMoney
		}
		v = v*10 + Micros(c-'0')
	}
	if v > MaxAmount {
		return 0, ErrMoney
	}
	return v, nil
}

// String returns the amount in dollars with two decimals, or more if needed.
func (m Micros) String() string {
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
