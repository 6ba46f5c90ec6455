package ledger_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"quorate/fsm/ledger"
)

func TestMoney(t *testing.T) {
	tests := []struct {
		in   string
		want ledger.Money
		out  string
	}{
		{"0", 0, "0.00"},
		{"0.0", 0, "0.00"},
		{"5", 5_000_000_000, "5.00"},
		{"5.0", 5_000_000_000, "5.00"},
		{"5.00", 5_000_000_000, "5.00"},
		{"5.000000", 5_000_000_000, "5.00"},
		{"4.99", 4_990_000_000, "4.99"},
		{"4.999999", 4_999_999_000, "4.999999"},
		{"0.1", 100_000_000, "0.10"},
		{"0.01", 10_000_000, "0.01"},
		{"0.0123", 12_300_000, "0.0123"},
		{"0.000001", 1_000, "0.000001"},
		{"12.345600", 12_345_600_000, "12.3456"},
		{"1000", 1_000_000_000_000, "1000.00"},
		{"1000000000", ledger.MaxAmount, "1000000000.00"},
		{"1000000000.000000000", ledger.MaxAmount, "1000000000.00"},
		{"999999999.999999", ledger.MaxAmount - 1000, "999999999.999999"},
		{"999999999.999999999", ledger.MaxAmount - 1, "999999999.999999999"},
		{"0.00000105", 1050, "0.00000105"},
		{"0.000000001", 1, "0.000000001"},
		{"5.0000000", 5_000_000_000, "5.00"},
		{"5.000000000", 5_000_000_000, "5.00"},
	}
	for _, tt := range tests {
		got, err := ledger.ParseMoney(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("ParseMoney(%q) = %d, %v; want %d", tt.in, got, err, tt.want)
		}
		if got.String() != tt.out {
			t.Errorf("%d is written %q, want %q", got, got, tt.out)
		}
	}
	for _, in := range []string{
		"", ".", "5.", ".5", "-5", "+5", "-0", "05", "00", "00.5", "5.0000000000", "0.0000000001", "5,00", "5 ", " 5", "5.00 ", "$5",
		"1e3", "0x5", "5_0", "NaN", "Inf", "five", "5.0.0", "5.-1", "٥", "5\x00", "1000000000.000000001", "1000000001", "1000000000.000001", "9999999999.999999999",
		"10000000000", "99999999999999999999", strings.Repeat("9", 1000),
	} {
		if got, err := ledger.ParseMoney(in); !errors.Is(err, ledger.ErrMoney) {
			t.Errorf("ParseMoney(%q) = %d, %v; want ErrMoney", in, got, err)
		}
	}
	if got := ledger.Money(-1_500_000_000).String(); got != "-1.50" {
		t.Errorf("a debt is written %q", got)
	}
}

var moneyRE = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.[0-9]{1,9})?$`)

func TestMoneyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := ledger.Money(rapid.Int64Range(0, int64(ledger.MaxAmount)).Draw(t, "nanos"))
		s := want.String()
		if got, err := ledger.ParseMoney(s); err != nil || got != want {
			t.Fatalf("%d is written %q, which reads as %d, %v", want, s, got, err)
		}
		if !moneyRE.MatchString(s) || !regexp.MustCompile(`\.[0-9]{2}([0-9]{0,6}[1-9])?$`).MatchString(s) {
			t.Fatalf("%d is written %q", want, s)
		}
	})
}

// FuzzMoney checks that a string parses exactly if it matches the documented pattern, up to
// the largest amount.
func FuzzMoney(f *testing.F) {
	for _, s := range []string{"5.00", "0", "1000000000", "1000000000.000000001", "9999999999.999999999", "05", "5."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ledger.ParseMoney(s)
		switch matches := moneyRE.MatchString(s); {
		case err == nil && !matches:
			t.Fatalf("%q was read as %d", s, v)
		case err != nil && matches && len(s) < 10:
			t.Fatalf("%q was refused: %v", s, err)
		case err == nil && (v < 0 || v > ledger.MaxAmount):
			t.Fatalf("%q was read as %d", s, v)
		}
	})
}
