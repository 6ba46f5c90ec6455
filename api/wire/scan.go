package wire

import (
	"fmt"
	"math"
	"strings"
)

// maxDepth is the maximum nesting of arrays and objects.
const maxDepth = 32

// Scanner reads one JSON document from front to back. After the first error every
// method returns a zero value, and Err returns the error. The zero Scanner has no
// document; Reset sets one. A Scanner that is reused allocates nothing, except for
// strings with escapes.
type Scanner struct {
	data    []byte
	pos     int
	depth   int
	fresh   bool   // the last byte read opened an object or an array
	at      string // the field being read, for errors
	scratch []byte // decoded strings that had escapes; append only
	err     error
}

// Reset starts a new document. Strings returned before become invalid.
func (s *Scanner) Reset(data []byte) {
	*s = Scanner{data: data, scratch: s.scratch[:0]}
}

// Err returns the first error, always a *FieldError.
func (s *Scanner) Err() error { return s.err }

// Fail records an error of the field being read, if it is the first error.
func (s *Scanner) Fail(detail string) { s.failField(s.at, detail) }

func (s *Scanner) failField(field, detail string) {
	if s.err == nil {
		s.err = &FieldError{Field: field, Detail: detail}
	}
}

func (s *Scanner) syntax(want string) {
	if s.err != nil {
		return
	}
	got := "the end"
	if s.pos < len(s.data) {
		got = fmt.Sprintf("%q", s.data[s.pos])
	}
	s.Fail(fmt.Sprintf("invalid JSON: at byte %d want %s, got %s", s.pos, want, got))
}

// peek returns the next byte that is not white space, 0 at the end or after an
// error.
func (s *Scanner) peek() byte {
	if s.err != nil {
		return 0
	}
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// Object opens an object. Call Key until it returns false.
func (s *Scanner) Object() { s.open('{', "an object") }

// Array opens an array. Call Item until it returns false.
func (s *Scanner) Array() { s.open('[', "an array") }

func (s *Scanner) open(c byte, what string) {
	if s.peek() != c {
		s.syntax(what)
		return
	}
	if s.depth++; s.depth > maxDepth {
		s.Fail(fmt.Sprintf("nested deeper than %d", maxDepth))
		return
	}
	s.pos++
	s.fresh = true
}

// more advances to the next element. It returns false after an error, and at the
// closing byte, which it consumes.
func (s *Scanner) more(closing byte, want string) bool {
	c := s.peek()
	switch {
	case s.err != nil:
		return false
	case c == closing:
		s.pos++
		s.depth--
		s.fresh = false
		return false
	case s.fresh:
		s.fresh = false
		return true
	case c == ',':
		s.pos++
		return true
	}
	s.syntax(want)
	return false
}

// Key returns the next name of an object; ok is false at the end of the object. The
// name is valid until the next Reset.
func (s *Scanner) Key() (name string, ok bool) {
	s.at = ""
	if !s.more('}', "a comma or }") {
		return "", false
	}
	name = s.Text()
	if s.peek() != ':' {
		s.syntax("a colon")
		return "", false
	}
	s.pos++
	return name, true
}

// Item reports whether the array has one more element.
func (s *Scanner) Item() bool { return s.more(']', "a comma or ]") }

// Fields is a set of the names that an object contained, one bit per name.
type Fields uint32

// Field starts the value of the known name that has the given bit in seen. It
// returns false if there is no value to read: after an error, for a repeated name,
// which is an error, and for null, which counts as absent.
func (s *Scanner) Field(seen *Fields, bit uint, name string) bool {
	s.at = name
	if *seen&(1<<bit) != 0 {
		s.Fail("given twice")
		return false
	}
	*seen |= 1 << bit
	return s.err == nil && !s.Null()
}

// Unknown records the error that the object must not contain the name.
func (s *Scanner) Unknown(name string) {
	s.failField(strings.Clone(name[:min(len(name), 64)]), "unknown name")
}

// Null consumes a null and returns true, if the next value is null.
func (s *Scanner) Null() bool {
	if s.peek() != 'n' {
		return false
	}
	return s.word("null")
}

// Bool reads true or false.
func (s *Scanner) Bool() bool {
	switch s.peek() {
	case 't':
		return s.word("true")
	case 'f':
		s.word("false")
		return false
	}
	s.syntax("true or false")
	return false
}

func (s *Scanner) word(w string) bool {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		s.syntax(w)
		return false
	}
	s.pos += len(w)
	return true
}

// Int reads an integer from 0 to most. It refuses 1.0 and 1e3.
func (s *Scanner) Int(most int64) int64 {
	v := s.Whole()
	if v < 0 || v > most {
		s.Fail(fmt.Sprintf("want 0 to %d", most))
		return 0
	}
	return v
}

// Whole reads an integer of any size. For an integer beyond 64 bits it returns the
// largest or smallest int64.
func (s *Scanner) Whole() int64 {
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		s.syntax("an integer")
		return 0
	}
	start := s.pos
	s.number()
	if s.err != nil {
		return 0
	}
	digits := s.data[start:s.pos]
	negative := digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	var v int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			s.Fail("want an integer, without fraction or exponent")
			return 0
		}
		if v > (math.MaxInt64-9)/10 {
			v = math.MaxInt64 // above every bound
			continue
		}
		v = v*10 + int64(c-'0')
	}
	if negative {
		return -v
	}
	return v
}

// End records an error if anything but white space follows.
func (s *Scanner) End() {
	s.at = ""
	if s.peek(); s.err == nil && s.pos < len(s.data) {
		s.syntax("the end")
	}
}
