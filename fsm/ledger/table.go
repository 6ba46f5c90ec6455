package ledger

import (
	"fmt"
	"strings"
	"time"

	"quorate/limiter/bucket"
)

// Table is a policy compiled for look-up. It is immutable.
type Table struct {
	Revision uint64
	Doc      []byte // the YAML document it was compiled from
	Policy   *Policy

	tiers      []tier // by spend; tiers[0] is the free tier
	byLevel    map[int]int
	categories map[string]*category
	models     []model
}

type tier struct {
	level  int
	name   string
	spend  Micros
	limits map[string][]bucket.Scoped
}

type category struct {
	name    string
	minTier int
	limited bool // some tier limits it
}

type model struct {
	match    string // lower case
	category string
	minTier  int
}

// Compile parses and checks a document and builds its table.
func Compile(revision uint64, doc []byte) (*Table, error) {
	p, err := ParsePolicy(doc)
	if err != nil {
		return nil, err
	}
	t := &Table{
		Revision: revision, Doc: doc, Policy: p,
		tiers:      []tier{{name: "Free"}},
		byLevel:    map[int]int{0: 0},
		categories: map[string]*category{},
	}
	if p.Schema != 1 {
		return nil, fmt.Errorf("schema: %d, want 1", p.Schema)
	}
	for name, c := range p.Categories {
		if !ValidCategory(name) {
			return nil, fmt.Errorf("categories.%s: not a valid name", name)
		}
		k := &category{name: name, minTier: 1}
		if c.MinTier != nil {
			k.minTier = *c.MinTier
		}
		t.categories[name] = k
	}
	for i, rule := range p.Tiers {
		if err := t.addTier(rule); err != nil {
			return nil, fmt.Errorf("tiers[%d].%w", i, err)
		}
	}
	for i, m := range p.Models {
		if t.categories[m.Category] == nil {
			return nil, fmt.Errorf("models[%d].category: %q is not among the categories", i, m.Category)
		}
		if _, ok := t.byLevel[m.MinTier]; !ok {
			return nil, fmt.Errorf("models[%d].min_tier: no tier %d", i, m.MinTier)
		}
		t.models = append(t.models, model{strings.ToLower(m.Match), m.Category, m.MinTier})
	}
	for name, k := range t.categories {
		if _, ok := t.byLevel[k.minTier]; !ok {
			return nil, fmt.Errorf("categories.%s.min_tier: no tier %d", name, k.minTier)
		}
	}
	return t, nil
}

func (t *Table) addTier(rule Tier) error {
	last := t.tiers[len(t.tiers)-1]
	spend, err := ParseMoney(rule.Spend)
	switch {
	case err != nil:
		return fmt.Errorf("spend: %w", err)
	case rule.Level <= last.level || rule.Level > 100:
		return fmt.Errorf("level: %d, want more than %d and at most 100", rule.Level, last.level)
	case spend <= last.spend:
		return fmt.Errorf("spend: %s, want more than %s", spend, last.spend)
	}
	k := tier{level: rule.Level, name: rule.Name, spend: spend, limits: map[string][]bucket.Scoped{}}
	for name, rules := range rule.Limits {
		c := t.categories[name]
		if c == nil {
			return fmt.Errorf("limits.%s: not among the categories", name)
		}
		c.limited = true
		scoped := make([]bucket.Scoped, 0, len(rules))
		for i, r := range rules {
			l, err := r.compile()
			if err != nil {
				return fmt.Errorf("limits.%s[%d].%w", name, i, err)
			}
			for _, other := range scoped {
				if other.Unit == l.Unit && other.Window == l.Window {
					return fmt.Errorf("limits.%s[%d]: a second limit of one unit and window", name, i)
				}
			}
			scoped = append(scoped, bucket.NewScoped(name, l, bucket.SourceTier))
		}
		k.limits[name] = scoped
	}
	t.byLevel[rule.Level] = len(t.tiers)
	t.tiers = append(t.tiers, k)
	return nil
}

func (r LimitRule) compile() (bucket.Limit, error) {
	unit, ok := bucket.ParseUnit(r.Unit)
	if !ok {
		return bucket.Limit{}, fmt.Errorf("unit: %q, want requests or tokens", r.Unit)
	}
	var window time.Duration
	window, err := bucket.ParseWindow(r.Window)
	if err != nil {
		return bucket.Limit{}, err
	}
	l := bucket.Limit{Unit: unit, Limit: r.Limit, Burst: r.Burst, Window: window}
	if l.Burst == 0 {
		l.Burst = l.Limit
	}
	return l, l.Validate()
}

// matches reports whether s, in whatever case, matches the lower-case pattern,
// in which * is any run of characters. It takes time in proportion to
// len(pattern) x len(s) at most.
func matches(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && pattern[p] == lower(s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
