package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const simulator = "testing/sim"

// TestTheSimulatorDrivesTheProduct: the packages that decide are in the simulator,
// so that its runs are runs of the product's decisions.
func TestTheSimulatorDrivesTheProduct(t *testing.T) {
	_, imports := gather(t)
	deps := reachable(simulator, imports)
	for _, want := range []string{"limiter", "limiter/replica", "cluster/placement", "cluster/ownership"} {
		if !deps[want] {
			t.Errorf("%s does not depend on %s", simulator, want)
		}
	}
}

// reachable returns the packages that one depends on, without its tests.
func reachable(from string, imports []Import) map[string]bool {
	seen := map[string]bool{}
	for todo := []string{from}; len(todo) > 0; todo = todo[1:] {
		for _, i := range imports {
			if i.From == todo[0] && !i.Test && !seen[i.To] {
				seen[i.To] = true
				todo = append(todo, i.To)
			}
		}
	}
	return seen
}

// ownDurations lists the files of the simulator that may declare durations: how long
// faults last, and how fast the network is. All others are the product's, which the
// simulator must read from there.
var ownDurations = []string{"faults.go", "scripts.go", "network.go"}

func TestTheSimulatorDeclaresNoDurations(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, simulator, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, err %v", files, err)
	}
	sources := map[string]*ast.File{}
	for _, file := range files {
		if name := filepath.Base(file); !strings.HasSuffix(name, "_test.go") {
			if sources[name], err = parser.ParseFile(token.NewFileSet(), file, nil, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(durations(sources)) == 0 {
		t.Fatal("no constant of the simulator is a duration: the check shows nothing")
	}
	for _, fault := range durations(sources) {
		if file, _, _ := strings.Cut(fault, ":"); !slices.Contains(ownDurations, file) {
			t.Error(fault)
		}
	}
}

// durations returns the constants of a package that are declared as durations or
// from others that are.
func durations(files map[string]*ast.File) (found []string) {
	known := map[string]bool{}
	for again := true; again; {
		again = false
		for name, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				if d, ok := n.(*ast.GenDecl); !ok || d.Tok != token.CONST {
					return true
				}
				for _, spec := range n.(*ast.GenDecl).Specs {
					v := spec.(*ast.ValueSpec)
					for i, id := range v.Names {
						if known[id.Name] || !isDuration(v.Type, known) && (i >= len(v.Values) || !isDuration(v.Values[i], known)) {
							continue
						}
						known[id.Name], again = true, true
						found = append(found, fmt.Sprintf("%s: the constant %s is a duration", name, id.Name))
					}
				}
				return true
			})
		}
	}
	slices.Sort(found)
	return found
}

// isDuration reports whether an expression names something of the package time, or a
// known duration.
func isDuration(e ast.Expr, known map[string]bool) (yes bool) {
	if e == nil {
		return false
	}
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" {
				yes = true
			}
			return false
		case *ast.Ident:
			yes = yes || known[n.Name]
		}
		return true
	})
	return yes
}

func TestDurationsAreFound(t *testing.T) {
	source := `package p
import "time"
const (
	a = 2 * time.Second
	b time.Duration = 5
	c = 3
	d = a / 2
)
func f() { const e = time.Millisecond; var g = time.Second; _ = g }
const h, i = 1, d
`
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range []string{"a", "b", "d", "e", "i"} {
		want = append(want, fmt.Sprintf("x.go: the constant %s is a duration", name))
	}
	if got := durations(map[string]*ast.File{"x.go": file}); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
