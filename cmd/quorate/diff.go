package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// difference is a value that differs between two documents. Nil means that a document
// has no such value.
type difference struct {
	Path string  `json:"path"`
	Was  *string `json:"was"`
	Now  *string `json:"now"`
}

// differences returns, by path, the values that differ between two YAML or JSON
// documents.
func differences(was, now []byte) ([]difference, error) {
	a, err := leaves(was)
	if err != nil {
		return nil, fmt.Errorf("the policy in force: %w", err)
	}
	b, err := leaves(now)
	if err != nil {
		return nil, err
	}
	paths := slices.Collect(maps.Keys(a))
	for p := range b {
		if _, ok := a[p]; !ok {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	out := []difference{}
	for _, p := range paths {
		d := difference{Path: p}
		if v, ok := a[p]; ok {
			d.Was = &v
		}
		if v, ok := b[p]; ok {
			d.Now = &v
		}
		if d.Was == nil || d.Now == nil || *d.Was != *d.Now {
			out = append(out, d)
		}
	}
	return out, nil
}

// printDiff writes a line for each value: - for the current one, + for the new one.
func printDiff(w io.Writer, list []difference) {
	for _, d := range list {
		if d.Was != nil {
			fmt.Fprintf(w, "- %s: %s\n", d.Path, *d.Was)
		}
		if d.Now != nil {
			fmt.Fprintf(w, "+ %s: %s\n", d.Path, *d.Now)
		}
	}
	if len(list) == 0 {
		fmt.Fprintln(w, "no difference")
	}
}

// leaves returns the values of a document by their paths.
func leaves(doc []byte) (map[string]string, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(doc, &root); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, n := range root.Content {
		collect(out, "", n)
	}
	return out, nil
}

// collect adds the leaves below a node. It does not follow aliases, which policies do not
// use.
func collect(out map[string]string, at string, n *yaml.Node) {
	switch {
	case n.Kind == yaml.MappingNode && len(n.Content) > 0:
		for i := 0; i+1 < len(n.Content); i += 2 {
			path := n.Content[i].Value
			if at != "" {
				path = at + "." + path
			}
			collect(out, path, n.Content[i+1])
		}
	case n.Kind == yaml.SequenceNode && len(n.Content) > 0:
		for i, item := range n.Content {
			collect(out, at+"["+strconv.Itoa(i)+"]", item)
		}
	case n.Kind == yaml.MappingNode:
		out[at] = "{}"
	case n.Kind == yaml.SequenceNode:
		out[at] = "[]"
	default:
		out[at] = n.Value
	}
}
