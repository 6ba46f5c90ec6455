package wire

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"quorate/fsm/ledger"
)

// overrides reads an account's list of overrides. It leaves numbers out of range to
// ledger.CompileOverrides, which reports all errors at once.
func (s *Scanner) overrides(p *Patch) {
	p.Overrides = []ledger.OverrideRule{}
	for s.Array(); s.Item(); {
		if len(p.Overrides) == ledger.MaxOverrides {
			s.failField("overrides", "more than "+strconv.Itoa(ledger.MaxOverrides))
			return
		}
		p.Overrides = append(p.Overrides, s.override())
	}
}

func (s *Scanner) override() (o ledger.OverrideRule) {
	var seen Fields
	for s.Object(); ; {
		name, ok := s.Key()
		if !ok {
			return o
		}
		switch name {
		case "match":
			if s.Field(&seen, 0, "overrides.match") {
				o.Match = strings.Clone(s.Text())
			}
		case "category":
			if s.Field(&seen, 1, "overrides.category") {
				o.Category = strings.Clone(s.Text())
			}
		case "min_tier":
			if s.Field(&seen, 2, "overrides.min_tier") {
				n := int(s.Whole())
				o.MinTier = &n
			}
		case "expires_at":
			if s.Field(&seen, 3, "overrides.expires_at") {
				o.ExpiresAt = s.Time()
			}
		case "limits":
			if s.Field(&seen, 4, "overrides.limits") {
				rules := s.limits()
				o.Limits = &rules
			}
		default:
			s.Unknown(name)
		}
	}
}

func (s *Scanner) limits() []ledger.LimitRule {
	rules := []ledger.LimitRule{}
	for s.Array(); s.Item(); {
		if len(rules) == ledger.MaxLimits+1 {
			s.failField("overrides.limits", "too many")
			break
		}
		rules = append(rules, s.limit())
	}
	return rules
}

func (s *Scanner) limit() (r ledger.LimitRule) {
	var seen Fields
	for s.Object(); ; {
		name, ok := s.Key()
		if !ok {
			return r
		}
		switch name {
		case "unit":
			if s.Field(&seen, 0, "overrides.limits.unit") {
				r.Unit = strings.Clone(s.Text())
			}
		case "limit":
			if s.Field(&seen, 1, "overrides.limits.limit") {
				r.Limit = s.Whole()
			}
		case "burst":
			if s.Field(&seen, 2, "overrides.limits.burst") {
				if r.Burst = s.Whole(); r.Burst == 0 {
					r.Burst = -1 // 0 means absent
				}
			}
		case "window":
			if s.Field(&seen, 3, "overrides.limits.window") {
				r.Window = strings.Clone(s.Text())
			}
		case "algorithm":
			if s.Field(&seen, 4, "overrides.limits.algorithm") {
				r.Algorithm = strings.Clone(s.Text())
			}
		default:
			s.Unknown(name)
		}
	}
}

// appendOverrides appends an account's overrides in the form that PATCH accepts.
func appendOverrides(dst []byte, list *ledger.Overrides) []byte {
	dst = append(dst, '[')
	if list != nil {
		for i := range list.List {
			if i > 0 {
				dst = append(dst, ',')
			}
			// Marshal cannot fail on strings and integers.
			one, _ := json.Marshal(overrideOf(&list.List[i]))
			dst = append(dst, one...)
		}
	}
	return append(dst, ']')
}

func overrideOf(o *ledger.Override) Override {
	out := Override{Match: o.Match, Category: o.Category}
	if o.Given {
		rules := ledger.Rules(o.Limits)
		out.Limits = &rules
	}
	if o.MinTier != ledger.NoMinTier {
		out.MinTier = &o.MinTier
	}
	if o.ExpiresAt != 0 {
		out.ExpiresAt = time.UnixMilli(o.ExpiresAt).UTC().Format(time.RFC3339Nano)
	}
	return out
}
