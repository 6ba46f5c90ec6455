package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"
)

// Most lines of a file and fields of Node in cluster: a part that grows beyond them
// is another package.
const (
	mostLines  = 300
	mostFields = 24
)

func TestTheFilesOfClusterAreShort(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "cluster", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, err %v", files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(b, []byte("\n")); lines > mostLines {
			t.Errorf("%s has %d lines, want %d at most", filepath.Base(file), lines, mostLines)
		}
	}
}

func TestTheNodeHasFewFields(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "cluster", "node.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Node" {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			fields += max(1, len(f.Names))
		}
		return false
	})
	if fields == 0 || fields > mostFields {
		t.Errorf("cluster.Node has %d fields, want 1 to %d", fields, mostFields)
	}
}
