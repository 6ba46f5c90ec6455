package ledger

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"quorate/limiter/bucket"
)

// Table is a policy compiled for look-up. It is immutable.
type Table struct {
	Revision uint64
	Doc      []byte // the document it was compiled from
	Policy   *Policy

	replication bucket.Replication

	tiers      []tier // by spend; tiers[0] is the free tier
	categories map[string]*category
	models     []model
	exceptions []exception
}

// Replication returns what the policy says of copies and of nodes that are cut
// off.
func (t *Table) Replication() bucket.Replication { return t.replication }

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

type exception struct {
	model
	limits [][]bucket.Scoped // by index of the tier; nil: the category's hold
}

// Compile parses and checks a document and builds its table. Its error is
// Faults and names everything that is wrong.
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
	// By name, so that the same document is told the same each time.
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
	walk
	t       *Table
	highest int // level
}

func (c *compiler) category(name, at string) {
	if name != "" && c.t.categories[name] == nil {
		c.fault(at, "%q is not among the categories", name)
	}
}

func (c *compiler) minTier(level int, at string) {
	if level > c.highest {
		c.fault(at, "no tier is at level %d or above", level)
	}
}

func (c *compiler) tier(rule Tier, at string, first bool) {
	spend, _ := ParseMoney(rule.Spend) // its fault is noted
	k := tier{level: rule.Level, name: rule.Name, spend: spend, limits: map[string][]bucket.Scoped{}}
	last := c.t.tiers[len(c.t.tiers)-1]
	free := rule.Level == 0 && first
	switch {
	case free && spend != 0:
		c.fault(at+".spend", `want "0": tier 0 is where everybody begins`)
	case !free && rule.Level >= 0 && rule.Level <= last.level:
		c.fault(at+".level", "want more than the level before, %d", last.level)
	case !free && rule.Spend != "" && spend <= last.spend:
		c.fault(at+".spend", "want more than the spend before, %s", last.spend)
	}
	for _, name := range slices.Sorted(maps.Keys(rule.Limits)) {
		rules := rule.Limits[name]
		if known := c.t.categories[name]; known != nil {
			known.limited = true
		}
		c.category(name, at+".limits."+name)
		quiet := walk{} // ParsePolicy has noted what is wrong with each limit
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
			quiet := walk{}
			nearest = quiet.scoped(k.match, "", rules, bucket.SourceException)
		}
		k.limits[i] = nearest
	}
	for _, level := range slices.Sorted(maps.Keys(e.Limits)) {
		if v, err := strconv.Atoi(level); err == nil && !known[v] {
			c.fault(at+".limits."+level, "no tier is at that level")
		}
	}
	c.t.exceptions = append(c.t.exceptions, k)
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
