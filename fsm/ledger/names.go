package ledger

import "quorate/limiter/bucket"

// MaxKey is the longest idempotency key, in bytes.
const MaxKey = 128

// ValidAccount reports whether s is a valid account id: 1 to 128 bytes of
// A-Z a-z 0-9 . _ : @ -, the first alphanumeric.
func ValidAccount(s string) bool { return validName(s, bucket.MaxAccount) }

// ValidCategory reports whether s is a valid name of a category: the same alphabet, at
// most 64 bytes.
func ValidCategory(s string) bool { return validName(s, bucket.MaxCategory) }

// ValidModel reports whether s is a valid name of a model: 1 to 256 printable ASCII
// bytes without space.
func ValidModel(s string) bool { return printable(s, bucket.MaxModel, '!') }

// ValidKey reports whether s is a valid idempotency key: 1 to 128 printable ASCII bytes.
func ValidKey(s string) bool { return printable(s, MaxKey, ' ') }

func printable(s string, max int, from byte) bool {
	if s == "" || len(s) > max {
		return false
	}
	for i := range len(s) {
		if s[i] < from || s[i] > '~' {
			return false
		}
	}
	return true
}

func validName(s string, max int) bool {
	if s == "" || len(s) > max || !alnum(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case alnum(c), c == '.', c == '_', c == ':', c == '@', c == '-':
		default:
			return false
		}
	}
	return true
}

func alnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
