package wire

import (
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// Text reads a string. The result points into the document, or into the scanner's
// memory if the string has escapes: clone a string that must outlive the document.
// Text refuses invalid UTF-8 and unpaired surrogates.
func (s *Scanner) Text() string {
	if s.peek() != '"' {
		s.syntax("a string")
		return ""
	}
	s.pos++
	start := s.pos
	for s.pos < len(s.data) {
		i := s.pos // a local variable makes the loop faster
		for i < len(s.data) && plain[s.data[i]] {
			i++
		}
		if s.pos = i; i == len(s.data) {
			break
		}
		switch c := s.data[i]; {
		case c == '"':
			s.pos++
			return view(s.data[start:i])
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			s.syntax("no control character in a string")
			return ""
		default:
			if !s.rune() {
				return ""
			}
		}
	}
	s.syntax(`a closing "`)
	return ""
}

// plain is the set of ASCII bytes that need no escape in a string.
var plain = func() (p [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		p[c] = c != '"' && c != '\\'
	}
	return p
}()

// escaped reads the rest of the string that began at start, from its first escape.
func (s *Scanner) escaped(start int) string {
	from := len(s.scratch)
	s.scratch = append(s.scratch, s.data[start:s.pos]...)
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return view(s.scratch[from:])
		case c == '\\':
			s.pos++
			if !s.escape() {
				return ""
			}
		case c < ' ':
			s.syntax("no control character in a string")
			return ""
		case c < utf8.RuneSelf:
			s.scratch = append(s.scratch, c)
			s.pos++
		default:
			at := s.pos
			if !s.rune() {
				return ""
			}
			s.scratch = append(s.scratch, s.data[at:s.pos]...)
		}
	}
	s.syntax(`a closing "`)
	return ""
}

// rune skips one rune beyond ASCII.
func (s *Scanner) rune() bool {
	r, n := utf8.DecodeRune(s.data[s.pos:])
	if r == utf8.RuneError && n <= 1 {
		s.Fail("not UTF-8")
		return false
	}
	s.pos += n
	return true
}

// escape decodes the escape after a backslash.
func (s *Scanner) escape() bool {
	if s.pos == len(s.data) {
		s.syntax("an escape")
		return false
	}
	c := s.data[s.pos]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return s.unicode()
	default:
		s.syntax("an escape")
		return false
	}
	s.scratch = append(s.scratch, c)
	s.pos++
	return true
}

// unicode decodes u and four hex digits, and the second half of a surrogate pair.
func (s *Scanner) unicode() bool {
	r, ok := s.hex4()
	if !ok {
		return false
	}
	if utf16.IsSurrogate(r) {
		low := rune(-1)
		if s.byteIs('\\') {
			if s.pos++; s.byteIs('u') {
				if low, ok = s.hex4(); !ok {
					return false
				}
			}
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			s.Fail("unpaired surrogate")
			return false
		}
	}
	s.scratch = utf8.AppendRune(s.scratch, r)
	return true
}

func (s *Scanner) hex4() (r rune, ok bool) {
	s.pos++ // the u
	for range 4 {
		if s.pos == len(s.data) {
			s.syntax("a hex digit")
			return 0, false
		}
		c := s.data[s.pos]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			s.syntax("a hex digit")
			return 0, false
		}
		r = r<<4 | rune(c)
		s.pos++
	}
	return r, true
}

// view returns the bytes as a string without a copy. This is safe because a check
// is parsed, decided and answered before its buffer is reused.
func view(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}
