// Package chaos injects faults into real clusters under load, and checks the bounds
// and invariants of the whole run.
package chaos

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/report"
	"quorate/testing/testcluster"
)

var (
	chaos  = flag.Bool("chaos", false, "inject faults into real clusters; without it the test is skipped")
	soak   = flag.Duration("soak", 0, "how long to draw random faults, one or two at a time")
	seed   = flag.Uint64("seed", 0, "of the draws of faults; 0: from the clock")
	nodes  = flag.Int("nodes", 0, "number of nodes; 0: three, or five in a soak")
	only   = flag.String("only", "", "run one cluster: namespaces, processes, five, clocks or containers")
	faults = flag.String("faults", "", "names of faults, with commas, instead of the short set")
	page   = flag.String("report", "", "file for the report")
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
	var mu sync.Mutex
	soaked := false
	run := func(t *testing.T, p *plan) {
		p.seed, p.random = *seed, *soak
		r := p.do(t)
		mu.Lock()
		defer mu.Unlock()
		soaked = *soak > 0 && r.Skipped == ""
		doc.Runs = append(doc.Runs, r)
		if err := write(doc); err != nil {
			t.Error(err)
		}
		switch {
		case r.Skipped != "":
			t.Skip("skipped: " + r.Skipped)
		case !r.OK():
			t.Errorf("the run failed; to repeat it: %s", doc.Command)
		}
	}
	var aside []*plan
	for _, p := range plans(t) {
		switch {
		// A soak runs one cluster: the first backend that works.
		case *only != "" && *only != p.title, *only == "" && soaked:
		case p.aside && *soak == 0:
			aside = append(aside, p)
		default:
			t.Run(p.title, func(t *testing.T) { run(t, p) })
		}
	}
	t.Run("aside", func(t *testing.T) {
		for _, p := range aside {
			t.Run(p.title, func(t *testing.T) {
				t.Parallel()
				run(t, p)
			})
		}
	})
	if !t.Failed() && !doc.OK() {
		t.Error("nothing has run")
	}
	if *page != "" {
		say("report: %s", *page)
	}
}

// plans returns the clusters of the short set, or those that a soak can use.
func plans(t *testing.T) []*plan {
	n := *nodes
	if n == 0 && *soak > 0 {
		n = 5
	} else if n == 0 {
		n = 3
	}
	voters := func(n int) []string { return []string{"--voters", fmt.Sprint(n - 1 + n%2)} }
	return []*plan{
		{
			title: "namespaces",
			faults: chosen(t, "cut-off-leader", "cut-off-long", "deaf-leader", "mute-leader", "one-link", "flapping", "no-majority", "loss", "delay", "jitter",
				"power-loss", "power-loss-all", "slow-disk", "hung-disk", "hung-disk-follower", "full-disk", "full-disk-follower"),
			begin: func(tb testing.TB) (backend.Backend, error) {
				return backend.NewNamespaces(tb, n, backend.Program{Args: voters(n)})
			},
		},
		{
			title: "processes",
			faults: chosen(t, "kill-follower", "freeze-short", "kill-leader", "freeze-leader", "starve", "starve-all", "lost-answers", "kill-all",
				"join-and-remove", "replace-wiped", "bit-flips", "drain", "rolling-restart"),
			begin: func(tb testing.TB) (backend.Backend, error) {
				return backend.NewProcesses(tb, n, backend.Program{Args: voters(n)})
			},
		},
		{
			title: "five", aside: true, faults: chosen(t, "kill-two"),
			begin: func(tb testing.TB) (backend.Backend, error) {
				return backend.NewProcesses(tb, 5, backend.Program{Args: voters(5)})
			},
		},
		{
			title: "clocks", aside: true, faults: chosen(t, "clock-steps"),
			begin: func(tb testing.TB) (backend.Backend, error) {
				program := backend.Program{Path: testcluster.FaultBinary(tb), Args: voters(n), Clocks: tb.TempDir()}
				return backend.NewProcesses(tb, n, program)
			},
		},
		{
			title: "containers", aside: true, faults: chosen(t, "kill-leader", "freeze-follower", "cut-off-follower"),
			begin: func(tb testing.TB) (backend.Backend, error) { return backend.NewContainers(tb, n) },
		},
	}
}

// write writes the page, and a summary in Markdown next to it.
func write(doc *report.Document) error {
	if *page == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(*page), 0o755); err != nil {
		return err
	}
	return errors.Join(writeTo(*page, doc.Write), writeTo(strings.TrimSuffix(*page, ".html")+".md", doc.WriteSummary))
}

func writeTo(path string, fn func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(fn(f), f.Close())
}
