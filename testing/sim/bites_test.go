package sim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	bites = flag.Bool("bites", false, "take one protection of the product away at a time, by the patches in the folder bites")
	find  = flag.Int("find", 500, "how many seeds to try where a bite's own seed finds nothing")
)

// bite is a protection of the product that a patch takes away, and the seed that found
// it last: its run keeps every bound with the protection and breaks one without it.
type bite struct {
	patch string // in the folder bites, without its ending
	aim   string // how its faults are planned: chance finds some protections too seldom
	seed  uint64
}

var allBites = []bite{
	{"lease-check", "any", 1},
	{"boot-in-map", "twice", 1},
	{"grantor-restart", "forgetful", 4},
	{"drain-majority", "behind", 10},
	{"wait-for-ack", "any", 1},
	{"smallest-sent", "lossy", 8},
	{"takeover-merge", "alone", 102},
	{"unabsorbed-usage", "any", 1},
	{"exact-handoff", "any", 25},
	{"heal-formula", "any", 1},
	{"settled-once", "any", 1},
	{"reservations-dropped", "handed", 5},
	{"window-absorbed", "any", 47},
	{"window-merge", "any", 3},
	{"debt-since-take", "any", 2},
}

// scripts are the plans of faults by name.
var scripts = map[string]Script{"any": nil, "twice": twice, "forgetful": forgetful, "behind": behind, "lossy": lossy, "alone": alone, "handed": handed}

// draw returns the run of a seed: the one that Draw returns, or, aimed, one of
// three nodes and the default policy whose faults the script plans.
func draw(seed uint64, aim string) Config {
	if aim == "" {
		return Draw(seed)
	}
	script, ok := scripts[aim]
	if !ok {
		panic("no script " + aim)
	}
	return Config{Seed: seed, Nodes: 3, Script: script}
}

// root is the module's folder.
const root = "../.."

// TestBites builds the simulator against a product that lacks one protection, and
// wants it to find that. The product's files stay as they are: the compiler is
// given the patched ones in their place.
func TestBites(t *testing.T) {
	if !*bites {
		t.Skip("skipped: it compiles the product once for each protection; make sim-bites runs it")
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("git applies the patches: ", err)
	}
	files, err := filepath.Glob("bites/*.patch")
	if err != nil || len(files) != len(allBites) {
		t.Fatalf("%d patches and %d bites: want one for each (%v)", len(files), len(allBites), err)
	}
	for _, b := range allBites {
		t.Run(b.patch, func(t *testing.T) {
			program := b.build(t)
			out, failed := b.run(t, program, "-seed", strconv.FormatUint(b.seed, 10))
			if failed {
				if r := Run(b.config(b.seed)); r.Violation != nil {
					t.Fatalf("seed %d breaks a bound with the protection too: %v", b.seed, r.Violation)
				}
				t.Logf("seed %d: %s", b.seed, violation(out))
				return
			}
			// A change of the product that sends one message more gives every seed
			// another run.
			seed, how := b.find(t, program)
			t.Logf("seed %d finds nothing any more, seed %d does: %s", b.seed, seed, how)
		})
	}
}

// build compiles this test with the patch applied, and returns the program.
func (b *bite) build(t *testing.T) string {
	t.Helper()
	patch, err := filepath.Abs("bites/" + b.patch + ".patch")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(patch)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, ok := strings.CutPrefix(lines.Text(), "+++ b/")
		if !ok {
			continue
		}
		original, err := filepath.Abs(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		source, err := os.ReadFile(original)
		if err != nil {
			t.Fatalf("the patch is of a file that is not there: %v", err)
		}
		patched := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(patched), 0o700), os.WriteFile(patched, source, 0o600)); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[original] = patched
	}
	if len(overlay.Replace) == 0 {
		t.Fatal("the patch changes no file")
	}
	apply := exec.Command("git", "apply", "--whitespace=nowarn", patch)
	apply.Dir = dir
	apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir)) // the folder is in no repository
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("the patch does not apply any more: %v\n%s", err, out)
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "test", "-c", "-overlay", file, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("the patched product does not compile: %v\n%s", err, out)
	}
	return program
}

// run runs seeds of a patched program; failed is true when a bound broke.
func (b *bite) run(t *testing.T, program string, args ...string) (out string, failed bool) {
	t.Helper()
	cmd := exec.Command(program, append([]string{"-test.run", "TestBoundsHold$", "-test.v", "-aim", b.aim}, args...)...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if out = string(text); err != nil && violation(out) == "" {
		t.Fatalf("it failed, and not because of a bound:\n%s", out)
	}
	return out, err != nil
}

// found is how TestBoundsHold reports a run that broke a bound.
var found = regexp.MustCompile(`seed (\d+), \d+ nodes: (.*)`)

func violation(out string) string { return found.FindString(out) }

// find returns the first seed that breaks a bound without the protection alone, and
// the bound.
func (b *bite) find(t *testing.T, program string) (seed uint64, how string) {
	t.Helper()
	out, _ := b.run(t, program, "-seeds", strconv.Itoa(*find))
	for _, m := range found.FindAllStringSubmatch(out, -1) {
		seed, err := strconv.ParseUint(m[1], 10, 64)
		if err == nil && Run(b.config(seed)).Violation == nil {
			return seed, m[0]
		}
	}
	t.Fatalf("no bound broke in %d seeds", *find)
	return 0, ""
}

func (b *bite) config(seed uint64) Config { return draw(seed, b.aim) }
