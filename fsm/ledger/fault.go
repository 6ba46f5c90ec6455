package ledger

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fault is one error of a document: its path, and a message that says what is expected.
type Fault struct {
	Path    string // such as tiers[0].limits.llm[1].window; empty: the whole document
	Message string
}

// Faults is an error with all faults of a document, at most maxFaults.
type Faults []Fault

// Error joins the faults.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = strings.TrimPrefix(one.Path+": "+one.Message, ": ")
	}
	return strings.Join(lines, "; ")
}

// maxFaults is the maximum number of faults that are recorded for a document.
const maxFaults = 100

// validator reads a YAML tree of an expected shape and records every fault. It reads an
// invalid value as zero.
type validator struct{ faults Faults }

func (w *validator) fault(path, format string, args ...any) {
	if len(w.faults) < maxFaults {
		w.faults = append(w.faults, Fault{path, fmt.Sprintf(format, args...)})
	}
}

func (w *validator) err() error {
	if len(w.faults) == 0 {
		return nil
	}
	return w.faults
}

// field reads the value of one key.
type field func(n *yaml.Node, path string)

// object reads a mapping with the given keys. It treats null values as absent.
func (w *validator) object(n *yaml.Node, path string, fields map[string]field) {
	w.mapping(n, path, func(key string, v *yaml.Node, path string) {
		if read := fields[key]; read == nil {
			w.fault(path, "unknown key")
		} else {
			read(v, path)
		}
	})
}

// mapping reads a mapping with any keys.
func (w *validator) mapping(n *yaml.Node, path string, each func(key string, v *yaml.Node, path string)) {
	if n.Kind != yaml.MappingNode {
		w.fault(path, "want a mapping of keys to values")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		at := join(path, k.Value)
		switch {
		case k.Kind != yaml.ScalarNode || k.Tag == "!!merge":
			w.fault(path, "line %d: want a plain key", k.Line)
		case seen[k.Value]:
			w.fault(at, "given twice")
		case v.Kind == yaml.AliasNode || v.Anchor != "" || k.Anchor != "":
			w.fault(at, "anchors and aliases are not allowed")
		case v.Tag == "!!null":
		default:
			each(k.Value, v, at)
		}
		seen[k.Value] = true
	}
}

// list reads a sequence of at most max elements.
func (w *validator) list(n *yaml.Node, path string, max int, each field) {
	switch {
	case n.Kind != yaml.SequenceNode:
		w.fault(path, "want a list")
		return
	case len(n.Content) > max:
		w.fault(path, "%d elements, at most %d", len(n.Content), max)
		return
	}
	for i, v := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		if v.Kind == yaml.AliasNode || v.Anchor != "" {
			w.fault(at, "anchors and aliases are not allowed")
			continue
		}
		each(v, at)
	}
}

// str reads a string. It refuses numbers and booleans.
func (w *validator) str(n *yaml.Node, path string) string {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		w.fault(path, "want a string")
		return ""
	}
	return n.Value
}

// int reads an integer in [lo, hi] in decimal digits.
func (w *validator) int(n *yaml.Node, path string, lo, hi int64) int64 {
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || v < lo || v > hi {
		w.fault(path, "want an integer from %d to %d", lo, hi)
		return lo
	}
	return v
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
