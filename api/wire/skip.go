package wire

// Skip reads one value of any kind and returns its bytes, which point into the
// document. It checks the whole value, except for repeated names.
func (s *Scanner) Skip() []byte {
	s.peek()
	start := s.pos
	s.skip()
	if s.err != nil {
		return nil
	}
	return s.data[start:s.pos]
}

// skip is recursive. open bounds the recursion to maxDepth.
func (s *Scanner) skip() {
	switch c := s.peek(); {
	case c == '{':
		for s.Object(); ; {
			if _, ok := s.Key(); !ok {
				return
			}
			s.skip()
		}
	case c == '[':
		for s.Array(); s.Item(); {
			s.skip()
		}
	case c == '"':
		s.Text()
	case c == 't' || c == 'f':
		s.Bool()
	case c == 'n':
		s.Null()
	case c == '-' || ('0' <= c && c <= '9'):
		s.number()
	default:
		s.syntax("a value")
	}
}

// number reads a number as JSON defines it.
func (s *Scanner) number() {
	if s.byteIs('-') {
		s.pos++
	}
	if s.byteIs('0') {
		s.pos++ // only a fraction or an exponent may follow
	} else {
		s.digits()
	}
	if s.byteIs('.') {
		s.pos++
		s.digits()
	}
	if s.byteIs('e') || s.byteIs('E') {
		s.pos++
		if s.byteIs('+') || s.byteIs('-') {
			s.pos++
		}
		s.digits()
	}
}

func (s *Scanner) digits() {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	if s.pos == start {
		s.syntax("a digit")
	}
}

func (s *Scanner) byteIs(c byte) bool {
	return s.err == nil && s.pos < len(s.data) && s.data[s.pos] == c
}
