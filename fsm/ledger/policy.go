package ledger

import (
	"bytes"
	_ "embed"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"quorate/limiter/bucket"
)

// The limits of a policy document.
const (
	MaxPolicy     = 1 << 20 // bytes
	MaxLevel      = 100     // level of a tier
	MaxCategories = 1000
	MaxRules      = 1000 // in models, and in exceptions
	MaxLimits     = 8    // in one list
	maxTierName   = 128  // bytes
)

//go:embed default.yaml
var defaultPolicy []byte

// Policy is the document that defines tiers, limits and models.
type Policy struct {
	Schema      int                 `json:"schema"`
	Partition   string              `json:"partition"` // share, full or deny
	Replication Replication         `json:"replication"`
	Categories  map[string]Category `json:"categories"`
	Tiers       []Tier              `json:"tiers"`
	Models      []Model             `json:"models"`
	Exceptions  []Exception         `json:"exceptions"`
}

// Replication says how far an owner may run ahead of its replicas.
type Replication struct {
	Mode  string `json:"mode"`  // bounded, sync or async
	Slack string `json:"slack"` // percent of the burst, such as 5%
}

// replication compiles the replication settings of a valid document.
func (p *Policy) replication() bucket.Replication {
	slack, _ := strconv.ParseInt(strings.TrimSuffix(p.Replication.Slack, "%"), 10, 64) // ParsePolicy has validated it
	return bucket.Replication{
		Mode:   map[string]bucket.Mode{"sync": bucket.Sync, "async": bucket.Async}[p.Replication.Mode],
		CutOff: map[string]bucket.CutOff{"full": bucket.Full, "deny": bucket.Deny}[p.Partition],
		Slack:  slack,
	}
}

// Category is a category of models. MinTier defaults to 1.
type Category struct {
	MinTier int `json:"min_tier"`
}

// Tier is a level, the lifetime spend in dollars that reaches it, and its limits by
// category.
type Tier struct {
	Level  int                    `json:"level"`
	Name   string                 `json:"name"`
	Spend  string                 `json:"spend"`
	Limits map[string][]LimitRule `json:"limits"`
}

// LimitRule is a limit before it is compiled.
type LimitRule struct {
	Unit      string `json:"unit"`
	Limit     int64  `json:"limit"`
	Burst     int64  `json:"burst,omitempty"` // 0: equal to Limit
	Window    string `json:"window"`
	Algorithm string `json:"algorithm,omitempty"` // empty: token_bucket
}

// Model assigns the models that match a pattern to a category, with a minimum tier.
type Model struct {
	Match    string `json:"match"`
	Category string `json:"category"`
	MinTier  int    `json:"min_tier"`
}

// Exception sets limits by tier for the models that match a pattern. A tier without limits
// here has those of the next lower tier with limits; if there is none, the category's
// limits apply.
type Exception struct {
	Match    string                 `json:"match"`
	Category string                 `json:"category,omitempty"`
	MinTier  int                    `json:"min_tier"`
	Limits   map[string][]LimitRule `json:"limits,omitempty"` // by level of the tier
}

// DefaultPolicy returns the document of the default policy.
func DefaultPolicy() []byte { return bytes.Clone(defaultPolicy) }

// ParsePolicy parses a YAML or JSON document. The error is Faults, with every error in the
// form of the document. ParsePolicy does not check whether its parts are consistent:
// Compile does.
func ParsePolicy(doc []byte) (*Policy, error) {
	w := &validator{}
	if len(doc) > MaxPolicy {
		w.fault("", "%d bytes, at most %d", len(doc), MaxPolicy)
		return nil, w.err()
	}
	d := yaml.NewDecoder(bytes.NewReader(doc))
	var root, more yaml.Node
	if err := d.Decode(&root); err != nil {
		w.fault("", "want a YAML or JSON document: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil, w.err()
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		w.fault("", "more than one document")
		return nil, w.err()
	}
	p := w.policy(root.Content[0])
	return p, w.err()
}

func (w *validator) policy(n *yaml.Node) *Policy {
	p := &Policy{
		Partition: "share", Replication: Replication{Mode: "bounded", Slack: "5%"},
		Categories: map[string]Category{}, Tiers: []Tier{}, Models: []Model{}, Exceptions: []Exception{},
	}
	w.object(n, "", map[string]field{
		"schema":    func(n *yaml.Node, at string) { p.Schema = int(w.int(n, at, 1, 1)) },
		"partition": func(n *yaml.Node, at string) { p.Partition = w.oneOf(n, at, "share", "full", "deny") },
		"replication": func(n *yaml.Node, at string) {
			w.object(n, at, map[string]field{
				"mode":  func(n *yaml.Node, at string) { p.Replication.Mode = w.oneOf(n, at, "bounded", "sync", "async") },
				"slack": func(n *yaml.Node, at string) { p.Replication.Slack = w.percent(n, at) },
			})
		},
		"categories": func(n *yaml.Node, at string) {
			w.mapping(n, at, func(name string, n *yaml.Node, at string) {
				if !ValidCategory(name) {
					w.fault(at, "want a name of 1 to %d bytes of A-Z a-z 0-9 . _ : @ -, the first a letter or digit", bucket.MaxCategory)
				}
				c := Category{MinTier: 1}
				w.object(n, at, map[string]field{"min_tier": w.level(&c.MinTier)})
				p.Categories[name] = c
			})
			if len(p.Categories) > MaxCategories {
				w.fault(at, "%d categories, at most %d", len(p.Categories), MaxCategories)
			}
		},
		"tiers": func(n *yaml.Node, at string) {
			w.list(n, at, MaxLevel+1, func(n *yaml.Node, at string) { p.Tiers = append(p.Tiers, w.tier(n, at)) })
		},
		"models": func(n *yaml.Node, at string) {
			w.list(n, at, MaxRules, func(n *yaml.Node, at string) {
				var m Model
				w.object(n, at, map[string]field{
					"match": w.match(&m.Match), "category": w.text(&m.Category), "min_tier": w.level(&m.MinTier),
				})
				w.need(at, "match", m.Match)
				w.need(at, "category", m.Category)
				p.Models = append(p.Models, m)
			})
		},
		"exceptions": func(n *yaml.Node, at string) {
			w.list(n, at, MaxRules, func(n *yaml.Node, at string) { p.Exceptions = append(p.Exceptions, w.exception(n, at)) })
		},
	})
	if p.Schema == 0 && n.Kind == yaml.MappingNode && !slices.ContainsFunc(w.faults, func(f Fault) bool { return f.Path == "schema" }) {
		w.fault("schema", "missing; want 1")
	}
	return p
}

func (w *validator) tier(n *yaml.Node, at string) Tier {
	t := Tier{Level: -1, Limits: map[string][]LimitRule{}}
	w.object(n, at, map[string]field{
		"level": w.level(&t.Level),
		"name":  w.text(&t.Name),
		"spend": func(n *yaml.Node, at string) {
			t.Spend = w.str(n, at)
			if _, err := ParseMoney(t.Spend); err != nil {
				w.fault(at, "%v", err)
			}
		},
		"limits": func(n *yaml.Node, at string) {
			w.mapping(n, at, func(name string, n *yaml.Node, at string) { t.Limits[name] = w.limits(n, at) })
		},
	})
	if t.Level < 0 {
		w.fault(at+".level", "missing; want a number from 0 to %d", MaxLevel)
	}
	w.need(at, "spend", t.Spend)
	if len(t.Name) > maxTierName {
		w.fault(at+".name", "%d bytes, at most %d", len(t.Name), maxTierName)
	}
	return t
}

func (w *validator) exception(n *yaml.Node, at string) Exception {
	var e Exception
	w.object(n, at, map[string]field{
		"match": w.match(&e.Match), "category": w.text(&e.Category), "min_tier": w.level(&e.MinTier),
		"limits": func(n *yaml.Node, at string) {
			e.Limits = map[string][]LimitRule{}
			w.mapping(n, at, func(level string, n *yaml.Node, at string) {
				if v, err := strconv.ParseUint(level, 10, 8); err != nil || v > MaxLevel || strconv.FormatUint(v, 10) != level {
					w.fault(at, "want the level of a tier, 0 to %d", MaxLevel)
				}
				e.Limits[level] = w.limits(n, at)
			})
		},
	})
	w.need(at, "match", e.Match)
	return e
}

func (w *validator) limits(n *yaml.Node, at string) []LimitRule {
	rules := []LimitRule{}
	w.list(n, at, MaxLimits, func(n *yaml.Node, at string) {
		var r LimitRule
		w.object(n, at, map[string]field{
			"unit":      w.text(&r.Unit),
			"limit":     func(n *yaml.Node, at string) { r.Limit = w.int(n, at, 1, bucket.MaxLimit) },
			"burst":     func(n *yaml.Node, at string) { r.Burst = w.int(n, at, 1, bucket.MaxLimit) },
			"window":    w.text(&r.Window),
			"algorithm": w.text(&r.Algorithm),
		})
		rules = append(rules, r)
	})
	w.scoped("", at, rules, 0)
	return rules
}

func (w *validator) text(into *string) field {
	return func(n *yaml.Node, at string) { *into = w.str(n, at) }
}

func (w *validator) level(into *int) field {
	return func(n *yaml.Node, at string) { *into = int(w.int(n, at, 0, MaxLevel)) }
}

func (w *validator) match(into *string) field {
	return func(n *yaml.Node, at string) {
		if *into = w.str(n, at); !ValidModel(*into) {
			w.fault(at, "want 1 to %d printable ASCII bytes without space; * matches any run of characters", bucket.MaxModel)
		}
	}
}

// need records a fault if a string is missing.
func (w *validator) need(at, key, v string) {
	path := join(at, key)
	if v == "" && !slices.ContainsFunc(w.faults, func(f Fault) bool { return f.Path == path }) {
		w.fault(path, "missing")
	}
}

func (w *validator) oneOf(n *yaml.Node, at string, words ...string) string {
	v := w.str(n, at)
	if !slices.Contains(words, v) {
		w.fault(at, "want %s", strings.Join(words, ", "))
	}
	return v
}

func (w *validator) percent(n *yaml.Node, at string) string {
	s := w.str(n, at)
	v, err := strconv.ParseUint(strings.TrimSuffix(s, "%"), 10, 8)
	if err != nil || v > 100 || !strings.HasSuffix(s, "%") {
		w.fault(at, `want an integer percentage from "0%%" to "100%%"`)
	}
	return s
}
