package report

import (
	"fmt"
	"io"
	"strings"
)

// WriteSummary writes the tables of invariants and of faults by name in Markdown.
func (d *Document) WriteSummary(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "`%s`, %s, %s\n", d.Command, d.Version, d.Made.Format("2006-01-02"))
	for _, r := range d.Runs {
		fmt.Fprintf(&b, "\n## %s\n\n", r.Title)
		if r.Skipped != "" {
			fmt.Fprintf(&b, "skipped: %s\n", r.Skipped)
			continue
		}
		fmt.Fprintf(&b, "%.0f s, %d nodes, seed %d\n\n", r.History.Length.Seconds(), len(r.History.Nodes), r.Seed)
		b.WriteString("| invariant | | seen |\n|---|---|---|\n")
		for _, one := range r.Report.Results {
			verdict := "held"
			if !one.OK {
				verdict = "BROKEN"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", one.Invariant, verdict, one.Figure)
		}
		b.WriteString("\n| fault | times | whole after, s: median, most | no entry for, s | over-admitted, of |\n|---|---|---|---|---|\n")
		for _, l := range r.Summary() {
			fmt.Fprintf(&b, "| %s | %d | %.1f, %.1f | %.1f | %s |\n", l.Name, l.Times, l.Median.Seconds(), l.Most.Seconds(), l.Still.Seconds(), l.Worst.Seen())
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
