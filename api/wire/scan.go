package wire

import (
	"fmt"
	"math"
	"strings"
)

// maxDepth bounds how deep arrays and objects nest.
const maxDepth = 32

// Scanner reads one JSON document from front to back. After the first fault
// every call returns a zero value, and Err says what it was. The zero Scanner
// reads nothing; Reset gives it a document. It may be used again and again and
// then allocates nothing but for strings with escapes.
type Scanner struct {
	data    []byte
	pos     int
	depth   int
	fresh   bool   // the last byte read opened an object or an array
	at      string // the field being read, for the fault's name
	scratch []byte // decoded strings that had escapes; only ever appended to
	err     error
}

// Reset starts a new document. Strings handed out before become invalid.
func (s *Scanner) Reset(data []byte) {
	*s = Scanner{data: data, scratch: s.scratch[:0]}
}

// Err returns the first fault, always a *FieldError.
func (s *Scanner) Err() error { return s.err }

// Fail notes a fault of the field being read.
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
	s.Fail(fmt.Sprintf("not the JSON that is due: at byte %d want %s, got %s", s.pos, want, got))
}

// peek returns the next byte that is no white space, 0 at the end or after a
// fault.
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

// Object opens an object; read it with Key until that is false.
func (s *Scanner) Object() { s.open('{', "an object") }

// Array opens an array; read it with Item until that is false.
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

// more moves to the next element before the closing byte; false at it, which
// it then takes, and after a fault.
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

// Key returns the next name of an object; ok is false at its end. The name is
// valid until the next call of Reset.
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

// Fields notes which names of an object were seen.
type Fields uint32

// Field starts the value of a known name, the given bit in seen. It is false
// when there is nothing to read: a name seen before, or null for absent.
func (s *Scanner) Field(seen *Fields, bit uint, name string) bool {
	s.at = name
	if *seen&(1<<bit) != 0 {
		s.Fail("given twice")
		return false
	}
	*seen |= 1 << bit
	return s.err == nil && !s.Null()
}

// Unknown notes a name that the shape does not have.
func (s *Scanner) Unknown(name string) {
	s.failField(strings.Clone(name[:min(len(name), 64)]), "unknown name")
}

// Null takes a null if there is one next.
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

// Int reads an integer from 0 to most. 1.0 and 1e3 are none.
func (s *Scanner) Int(most int64) int64 {
	v := s.Whole()
	if v < 0 || v > most {
		s.Fail(fmt.Sprintf("want 0 to %d", most))
		return 0
	}
	return v
}

// Whole reads an integer of any size; beyond 64 bits it is the largest or
// smallest that there is.
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
			v = math.MaxInt64 // out of any bound
			continue
		}
		v = v*10 + int64(c-'0')
	}
	if negative {
		return -v
	}
	return v
}

// End checks that nothing but white space follows.
func (s *Scanner) End() {
	s.at = ""
	if s.peek(); s.err == nil && s.pos < len(s.data) {
		s.syntax("the end")
	}
}
