// Package chaos hurts real clusters under load and checks what that cost.
package chaos

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/report"
	"quorate/testing/testcluster"
)

var (
	chaos  = flag.Bool("chaos", false, "hurt real clusters; without it nothing is done")
	soak   = flag.Duration("soak", 0, "draw faults at random for so long, on each backend")
	seed   = flag.Uint64("seed", 0, "draw the same faults again; 0: by the clock")
	only   = flag.String("only", "", "a backend: processes, namespaces or containers")
	faults = flag.String("faults", "", "faults by name, with commas, in place of the short set")
	page   = flag.String("report", "", "where the report goes")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(testcluster.Main(m))
}

// TestChaos is `make chaos` and `make soak`.
func TestChaos(t *testing.T) {
	if !*chaos {
		t.Skip("skipped: only with -chaos")
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	doc := &report.Document{Command: replay(), Version: strings.TrimSpace(testcluster.Run(t, time.Minute, "version").Stdout), Made: time.Now()}
	for _, p := range plans(t) {
		if *only != "" && *only != p.title {
			continue
		}
		t.Run(p.title, func(t *testing.T) {
			r := p.do(t)
			doc.Runs = append(doc.Runs, r)
			if err := write(doc); err != nil {
				t.Error(err)
			}
			switch {
			case r.Skipped != "":
				t.Skip("skipped: " + r.Skipped)
			case !r.OK():
				t.Errorf("the run failed; again: %s", doc.Command)
			}
		})
	}
	if *page != "" {
		say("report: %s", *page)
	}
}

func plans(t *testing.T) []*plan {
	return []*plan{
		{
			title: "processes", seed: *seed, random: *soak,
			begin: func(tb testing.TB) (backend.Backend, error) {
				return backend.NewProcesses(tb, 3, backend.Program{}), nil
			},
			faults: chosen(t, "kill-follower", "freeze-short", "kill-leader", "freeze-leader", "starve", "kill-all", "join-and-remove",
				"replace-wiped", "bit-flips", "rolling-restart"),
		},
		{
			title: "namespaces", seed: *seed, random: *soak,
			begin: func(tb testing.TB) (backend.Backend, error) { return backend.NewNamespaces(tb, 3, backend.Program{}) },
			faults: chosen(t, "cut-off-leader", "cut-off-long", "deaf", "mute", "one-link", "flapping", "no-majority", "loss",
				"power-loss", "power-loss-all", "slow-disk", "hung-disk", "full-disk"),
		},
		{
			title: "clocks", seed: *seed, random: *soak,
			begin: func(tb testing.TB) (backend.Backend, error) {
				return backend.NewProcesses(tb, 3, backend.Program{Path: built(tb, "broken"), Clocks: tb.TempDir()}), nil
			},
			faults: chosen(t, "clock-steps"),
		},
		{
			title: "containers", seed: *seed, random: *soak,
			begin:  func(tb testing.TB) (backend.Backend, error) { return backend.NewContainers(tb, 3) },
			faults: chosen(t, "kill-leader", "freeze-follower", "cut-off-follower"),
		},
	}
}

// built builds the program with a tag.
func built(tb testing.TB, tag string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "quorate")
	if out, err := exec.Command("go", "build", "-tags", tag, "-o", path, "quorate/cmd/quorate").CombinedOutput(); err != nil {
		tb.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

func write(doc *report.Document) error {
	if *page == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(*page), 0o755); err != nil {
		return err
	}
	f, err := os.Create(*page)
	if err != nil {
		return err
	}
	defer f.Close()
	return doc.Write(f)
}
