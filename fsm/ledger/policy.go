package ledger

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// MaxPolicy is the largest policy document, in bytes.
const MaxPolicy = 1 << 20

//go:embed default.yaml
var defaultPolicy []byte

// Policy is the document that says what each tier may do.
type Policy struct {
	Schema      int                 `yaml:"schema" json:"schema"`
	Partition   string              `yaml:"partition" json:"partition"`
	Replication Replication         `yaml:"replication" json:"replication"`
	Categories  map[string]Category `yaml:"categories" json:"categories"`
	Tiers       []Tier              `yaml:"tiers" json:"tiers"`
	Models      []Model             `yaml:"models" json:"models"`
}

// Replication says how far an owner may run ahead of its copies.
type Replication struct {
	Mode  string `yaml:"mode" json:"mode"`
	Slack string `yaml:"slack" json:"slack"`
}

// Category is a kind of model. MinTier is 1 where it is not given.
type Category struct {
	MinTier *int `yaml:"min_tier" json:"min_tier,omitempty"`
}

// Tier is a level, the lifetime spend from which it holds, and its limits by
// category.
type Tier struct {
	Level  int                    `yaml:"level" json:"level"`
	Name   string                 `yaml:"name" json:"name"`
	Spend  string                 `yaml:"spend" json:"spend"`
	Limits map[string][]LimitRule `yaml:"limits" json:"limits"`
}

// LimitRule is a limit as the document writes it.
type LimitRule struct {
	Unit   string `yaml:"unit" json:"unit"`
	Limit  int64  `yaml:"limit" json:"limit"`
	Burst  int64  `yaml:"burst" json:"burst,omitempty"`
	Window string `yaml:"window" json:"window"`
}

// Model puts the models that match into a category and may ask for a tier.
type Model struct {
	Match    string `yaml:"match" json:"match"`
	Category string `yaml:"category" json:"category"`
	MinTier  int    `yaml:"min_tier" json:"min_tier"`
}

// DefaultPolicy returns the built-in document's bytes.
func DefaultPolicy() []byte { return bytes.Clone(defaultPolicy) }

// ParsePolicy reads a YAML document whole. Unknown keys, a second document and
// more than MaxPolicy bytes are errors.
func ParsePolicy(doc []byte) (*Policy, error) {
	if len(doc) > MaxPolicy {
		return nil, fmt.Errorf("policy of %d bytes, at most %d", len(doc), MaxPolicy)
	}
	d := yaml.NewDecoder(bytes.NewReader(doc))
	d.KnownFields(true)
	var p Policy
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("parse policy: %w", err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("parse policy: more than one document")
	}
	return &p, nil
}
