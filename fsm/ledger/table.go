package ledger

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"quorate/limiter/bucket"
)

// Table is a compiled policy. It is immutable.
type Table struct {
	Revision uint64
	Doc      []byte // source document
	Policy   *Policy

	replication bucket.Replication

	tiers      []tier // by spend; tiers[0] is the free tier
	categories map[string]*category
	models     []model
	exceptions []exception
}

// Replication returns the policy's settings for replicas and for nodes that are cut off.
func (t *Table) Replication() bucket.Replication { return t.replication }

type tier struct {
	level  int
	name   string
	spend  Money
	limits map[string][]bucket.Scoped
}

type category struct {
	name    string
	minTier int
	limited bool // at least one tier limits it
}

type model struct {
	match    string // lower case
	category string
	minTier  int
}

type exception struct {
	model
	limits [][]bucket.Scoped // by index of the tier; nil: the category's limits apply
}

// Compile parses and validates a document and builds its table. The error is Faults, with
// every error of the document.
func Compile(revision uint64, doc []byte) (*Table, error) {
	p, err := ParsePolicy(doc)
	if p == nil {
		return nil, err
	}
	c := compiler{
		t: &Table{
			Revision: revision, Doc: doc, Policy: p,
			tiers:      []tier{{name: "Free", limits: map[string][]bucket.Scoped{}}},
			categories: map[string]*category{},
		},
		highest: 0,
	}
	if faults, ok := err.(Faults); ok {
		c.faults = faults
	}
	c.t.replication = p.replication()
	for name, k := range p.Categories {
		c.t.categories[name] = &category{name: name, minTier: k.MinTier}
	}
	for i, rule := range p.Tiers {
		c.tier(rule, "tiers["+strconv.Itoa(i)+"]", i == 0)
	}
	// Sorted, so that the same document always has the same errors in the same order.
	for _, name := range slices.Sorted(maps.Keys(p.Categories)) {
		c.minTier(p.Categories[name].MinTier, "categories."+name+".min_tier")
	}
	for i, m := range p.Models {
		at := "models[" + strconv.Itoa(i) + "]"
		c.category(m.Category, at+".category")
		c.minTier(m.MinTier, at+".min_tier")
		c.t.models = append(c.t.models, model{strings.ToLower(m.Match), m.Category, m.MinTier})
	}
	for i, e := range p.Exceptions {
		c.exception(e, "exceptions["+strconv.Itoa(i)+"]")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	return c.t, nil
}

type compiler struct {
	validator
	t       *Table
	highest int // level
}

func (c *compiler) category(name, at string) {
	if name != "" && c.t.categories[name] == nil {
		c.fault(at, "the policy has no category %q", name)
	}
}

func (c *compiler) minTier(level int, at string) {
	if level > c.highest {
		c.fault(at, "no tier has level %d or above", level)
	}
}

func (c *compiler) tier(rule Tier, at string, first bool) {
	spend, _ := ParseMoney(rule.Spend) // ParsePolicy has recorded the error
	k := tier{level: rule.Level, name: rule.Name, spend: spend, limits: map[string][]bucket.Scoped{}}
	last := c.t.tiers[len(c.t.tiers)-1]
	free := rule.Level == 0 && first
	switch {
	case free && spend != 0:
		c.fault(at+".spend", `want "0": every account starts in tier 0`)
	case !free && rule.Level >= 0 && rule.Level <= last.level:
		c.fault(at+".level", "want more than the previous level, %d", last.level)
	case !free && rule.Spend != "" && spend <= last.spend:
		c.fault(at+".spend", "want more than the previous spend, %s", last.spend)
	}
	for _, name := range slices.Sorted(maps.Keys(rule.Limits)) {
		rules := rule.Limits[name]
		if known := c.t.categories[name]; known != nil {
			known.limited = true
		}
		c.category(name, at+".limits."+name)
		quiet := validator{} // ParsePolicy has recorded the errors of each limit
		k.limits[name] = quiet.scoped(name, "", rules, bucket.SourceTier)
	}
	c.highest = max(c.highest, rule.Level)
	if free {
		if k.name == "" {
			k.name = "Free"
		}
		c.t.tiers[0] = k
		return
	}
	c.t.tiers = append(c.t.tiers, k)
}

func (c *compiler) exception(e Exception, at string) {
	c.category(e.Category, at+".category")
	c.minTier(e.MinTier, at+".min_tier")
	k := exception{model: model{strings.ToLower(e.Match), e.Category, e.MinTier}, limits: make([][]bucket.Scoped, len(c.t.tiers))}
	known := map[int]bool{}
	var nearest []bucket.Scoped
	for i, t := range c.t.tiers {
		known[t.level] = true
		if rules, ok := e.Limits[strconv.Itoa(t.level)]; ok {
			quiet := validator{}
			nearest = quiet.scoped(k.match, "", rules, bucket.SourceException)
		}
		k.limits[i] = nearest
	}
	for _, level := range slices.Sorted(maps.Keys(e.Limits)) {
		if v, err := strconv.Atoi(level); err == nil && !known[v] {
			c.fault(at+".limits."+level, "no tier has that level")
		}
	}
	c.t.exceptions = append(c.t.exceptions, k)
}

// matches reports whether s, in any case, matches the lower-case pattern, in which *
// matches any run of characters. Its time is O(len(pattern) x len(s)).
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
