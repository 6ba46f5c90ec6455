package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// printDiff writes a line for each value that differs between two YAML or JSON
// documents: - what is there now, + what would be.
func printDiff(w io.Writer, was, now []byte) error {
	a, err := leaves(was)
	if err != nil {
		return fmt.Errorf("the policy in force: %w", err)
	}
	b, err := leaves(now)
	if err != nil {
		return err
	}
	var paths []string
	for p := range a {
		paths = append(paths, p)
	}
	for p := range b {
		if _, ok := a[p]; !ok {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	same := true
	for _, p := range paths {
		before, had := a[p]
		after, has := b[p]
		if had && has && before == after {
			continue
		}
		same = false
		if had {
			fmt.Fprintf(w, "- %s: %s\n", p, before)
		}
		if has {
			fmt.Fprintf(w, "+ %s: %s\n", p, after)
		}
	}
	if same {
		fmt.Fprintln(w, "no difference")
	}
	return nil
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

// collect does not follow aliases: no policy has any.
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
