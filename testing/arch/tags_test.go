package arch

import (
	"go/build/constraint"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// faultTag is the only build tag of ours: builds with it can turn protections off.
const faultTag = "faultinject"

// TestBuildTags: a build constraint depends on the platform, on the race detector, or
// on fault injection, which is confined to pairs of files with fixed names.
func TestBuildTags(t *testing.T) {
	halves := map[string][]string{} // of a folder: its files that depend on faultTag
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") {
			return err
		}
		expr := buildConstraint(t, file)
		if expr == nil {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		for _, tag := range tagsOf(expr) {
			if !slices.Contains([]string{"linux", "race", faultTag}, tag) {
				t.Errorf("%s depends on the build tag %q", rel, tag)
			}
			if tag != faultTag {
				continue
			}
			name := path.Base(rel)
			disabled := expr.Eval(func(string) bool { return false })
			want := []string{"faults_enabled.go"}
			if disabled {
				want = []string{"faults_disabled.go"}
			}
			if !slices.Contains(want, name) {
				t.Errorf("%s depends on the build tag %s: want a file named %s", rel, faultTag, want[0])
			}
			halves[path.Dir(rel)] = append(halves[path.Dir(rel)], name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(halves) == 0 {
		t.Error("no file depends on fault injection: the check shows nothing")
	}
	for folder, names := range halves {
		if len(names) != 2 {
			t.Errorf("%s has %v: want one file with fault injection and one without", folder, names)
		}
	}
}

// buildConstraint returns a file's //go:build line, nil if it has none.
func buildConstraint(t *testing.T, file string) constraint.Expr {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "package ") {
			return nil
		}
		if constraint.IsGoBuild(line) {
			expr, err := constraint.Parse(line)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			return expr
		}
	}
	return nil
}

func tagsOf(e constraint.Expr) []string {
	switch e := e.(type) {
	case *constraint.TagExpr:
		return []string{e.Tag}
	case *constraint.NotExpr:
		return tagsOf(e.X)
	case *constraint.AndExpr:
		return append(tagsOf(e.X), tagsOf(e.Y)...)
	case *constraint.OrExpr:
		return append(tagsOf(e.X), tagsOf(e.Y)...)
	}
	return nil
}
