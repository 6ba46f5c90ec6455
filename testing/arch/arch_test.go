package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

func TestImports(t *testing.T) {
	packages, imports := gather(t)
	if len(packages) < 3 || len(imports) == 0 {
		t.Fatalf("found packages %v and %d imports: not the repository", packages, len(imports))
	}
	for _, fault := range Check(Rules, packages, imports) {
		t.Error(fault)
	}
}

func TestTopLevelFolders(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	ignored := ignoredFolders(t)
	for _, want := range Folders {
		if info, err := os.Stat(filepath.Join(root, want)); err != nil || !info.IsDir() {
			t.Errorf("the folder %s is missing", want)
		}
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() && name[0] != '.' && !slices.Contains(Folders, name) && !slices.Contains(ignored, name) {
			t.Errorf("the folder %s is not one of %v", name, Folders)
		}
	}
}

func TestNoPackageAtTheRootOfTesting(t *testing.T) {
	// A package there would be called testing, and hide the standard one.
	files, err := filepath.Glob(filepath.Join(root, "testing", "*.go"))
	if err != nil || len(files) > 0 {
		t.Fatalf("files %v, err %v; want none", files, err)
	}
}

func TestTheCheckerItself(t *testing.T) {
	tests := []struct {
		name     string
		packages []string
		imports  []Import
		want     []string
	}{
		{"nothing", nil, nil, nil},
		{
			"allowed",
			[]string{"fsm/ledger", "testing/e2e/gateways"},
			[]Import{
				{"fsm/ledger/rule.go", "fsm/ledger", "limiter/bucket", false},
				{"testing/e2e/gateways/x_test.go", "testing/e2e/gateways", "cmd/node", true},
			},
			nil,
		},
		{
			"a leaf that looks up",
			[]string{"limiter/bucket"},
			[]Import{{"limiter/bucket/x.go", "limiter/bucket", "fsm/ledger", false}},
			[]string{"limiter/bucket/x.go: limiter/bucket may not import fsm/ledger"},
		},
		{
			"siblings",
			[]string{"api/rest"},
			[]Import{
				{"api/rest/a.go", "api/rest", "cluster", false},
				{"api/rest/b.go", "api/rest", "fsm", false},
				{"api/rest/c.go", "api/rest", "fsm/ledger", false},
			},
			[]string{"api/rest/a.go: api/rest may not import cluster", "api/rest/b.go: api/rest may not import fsm"},
		},
		{
			"tests know their own package and the helpers, nothing more",
			[]string{"limiter"},
			[]Import{
				{"limiter/a_test.go", "limiter", "testing/testcluster", true},
				{"limiter/b_test.go", "limiter", "limiter", true},
				{"limiter/c_test.go", "limiter", "fsm", true},
				{"limiter/d.go", "limiter", "testing/sim", false},
			},
			[]string{
				"limiter/c_test.go: limiter may not import fsm",
				"limiter/d.go: limiter may not import testing/sim",
			},
		},
		{
			"unknown packages",
			[]string{"util", "limiter/bucket/extra", ""},
			nil,
			[]string{
				`package "" is not in the import table`,
				`package "limiter/bucket/extra" is not in the import table`,
				`package "util" is not in the import table`,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Check(Rules, tt.packages, tt.imports); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// gather reads the imports of all Go files of the module, whatever their build
// constraints. Folders with a go.mod of their own are other modules.
func gather(t *testing.T) (packages []string, imports []Import) {
	t.Helper()
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && (strings.ContainsRune("._", rune(d.Name()[0])) || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil && rel != "." {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		from := strings.TrimPrefix(path.Dir(rel), ".")
		if !seen[from] {
			seen[from] = true
			packages = append(packages, from)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if to, ours := strings.CutPrefix(name, Module+"/"); ours {
				imports = append(imports, Import{rel, from, to, strings.HasSuffix(rel, "_test.go")})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages, imports
}

// ignoredFolders are the folders at the top that .gitignore names whole, such
// as /bin/.
func ignoredFolders(t *testing.T) (names []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if name := strings.Trim(strings.TrimSpace(line), "/"); name != "" && !strings.ContainsAny(name, "/*!#") {
			names = append(names, name)
		}
	}
	return names
}
