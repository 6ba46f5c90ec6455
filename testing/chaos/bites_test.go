package chaos

import (
	"flag"
	"slices"
	"testing"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/failpoint"
	"quorate/testing/chaos/report"
	"quorate/testing/testcluster"
)

var bites = flag.Bool("bites", false, "run clusters that lack one protection each, and require that the checks find it")

// TestBites turns one protection off at a time, by fault injection: the run must
// fail, and name the invariant that is broken.
func TestBites(t *testing.T) {
	if !*bites {
		t.Skip("skipped: only with -bites")
	}
	doc := &report.Document{Command: "make chaos-bites"}
	for _, b := range []struct {
		without    string // the protection; the fault that takes it away is "no" and its name
		namespaces bool
		faults     []string
		want       []string // one of these invariants
	}{
		{"dedupe", false, []string{"kill-leader"}, []string{"linearizable ledger", "each entry exactly once"}},
		{"copies", false, []string{"kill-follower", "kill-leader"}, []string{"over-admission"}},
		{"fsync", true, []string{"power-loss-all"}, []string{"each entry exactly once"}},
		{"lease", true, []string{"cut-off-leader"}, []string{"one owner at a time"}},
		{"heal", true, []string{"cut-off-long", "cut-off-long"}, []string{"over-admission"}},
	} {
		if *only != "" && *only != b.without {
			continue
		}
		t.Run(b.without, func(t *testing.T) {
			program := backend.Program{Path: testcluster.FaultBinary(t), Faults: []string{"no" + b.without}}
			faults, err := failpoint.Named(b.faults...)
			if err != nil {
				t.Fatal(err)
			}
			p := &plan{title: "without " + b.without, seed: max(1, *seed), faults: faults, begin: func(tb testing.TB) (backend.Backend, error) {
				if b.namespaces {
					return backend.NewNamespaces(tb, 3, program)
				}
				return backend.NewProcesses(tb, 3, program)
			}}
			r := p.do(t)
			doc.Runs = append(doc.Runs, r)
			if err := write(doc); err != nil {
				t.Error(err)
			}
			if r.Skipped != "" {
				t.Skip("skipped: " + r.Skipped)
			}
			if !r.History.Audited { // then some invariants fail for want of an end
				t.Fatalf("without %s the run did not come to its end: %s", b.without, r.Broken)
			}
			for _, one := range r.Report.Results {
				if !one.OK && slices.Contains(b.want, one.Invariant) {
					return
				}
			}
			t.Errorf("without %s nothing was found of %v", b.without, b.want)
		})
	}
}
