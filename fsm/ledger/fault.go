package ledger

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fault is one thing that is wrong with a document: where, and what would be
// right.
type Fault struct {
	Path    string // such as tiers[0].limits.llm[1].window; empty: the document
	Message string
}

// Faults is an error that names everything that is wrong.
type Faults []Fault

// Error joins the faults.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = strings.TrimPrefix(one.Path+": "+one.Message, ": ")
	}
	return strings.Join(lines, "; ")
}

// maxFaults bounds what one document is told.
const maxFaults = 100

// walk reads a YAML tree by its expected shape and notes every fault. A value
// at fault is read as zero.
type walk struct{ faults Faults }

func (w *walk) fault(path, format string, args ...any) {
	if len(w.faults) < maxFaults {
		w.faults = append(w.faults, Fault{path, fmt.Sprintf(format, args...)})
	}
}

func (w *walk) err() error {
	if len(w.faults) == 0 {
		return nil
	}
	return w.faults
}

// field is what reads the value of one key.
type field func(n *yaml.Node, path string)

// object reads a mapping with the given keys; null values count as absent.
func (w *walk) object(n *yaml.Node, path string, fields map[string]field) {
	w.mapping(n, path, func(key string, v *yaml.Node, path string) {
		if read := fields[key]; read == nil {
			w.fault(path, "unknown key")
		} else {
			read(v, path)
		}
	})
}

// mapping reads a mapping with any keys.
func (w *walk) mapping(n *yaml.Node, path string, each func(key string, v *yaml.Node, path string)) {
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

// list reads a sequence of at most most elements.
func (w *walk) list(n *yaml.Node, path string, most int, each field) {
	switch {
	case n.Kind != yaml.SequenceNode:
		w.fault(path, "want a list")
		return
	case len(n.Content) > most:
		w.fault(path, "%d elements, at most %d", len(n.Content), most)
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

// str reads a string; a number or a boolean is none.
func (w *walk) str(n *yaml.Node, path string) string {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		w.fault(path, "want a string")
		return ""
	}
	return n.Value
}

// int reads a whole number in [lo, hi], written in digits.
func (w *walk) int(n *yaml.Node, path string, lo, hi int64) int64 {
	v, err := strconv.ParseInt(n.Value, 10, 64)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil || v < lo || v > hi {
		w.fault(path, "want a whole number from %d to %d", lo, hi)
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
