// Package report writes a run as one HTML page without other files.
package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/anishathalye/porcupine"

	"quorate/testing/chaos/model"
	"quorate/testing/chaos/validate"
)

// Document is a page with the runs of one command.
type Document struct {
	Command string    // that repeats the run
	Version string    // of the program
	Made    time.Time //
	Runs    []*Run
}

// Run is the run of one cluster.
type Run struct {
	Title, Backend string
	Seed           uint64
	Skipped        string // why it did not run
	Broken         string // why it was stopped
	Skips          []Skip
	History        *model.History
	Report         *validate.Report
}

// Skip is a fault that the backend cannot inject.
type Skip struct{ Fault, Why string }

// OK reports whether the run came to its end and every invariant held.
func (r *Run) OK() bool { return r.Broken == "" && r.Report != nil && r.Report.OK() }

// OK reports whether something ran, and no run failed.
func (d *Document) OK() bool {
	ran := 0
	for _, r := range d.Runs {
		if r.Skipped != "" {
			continue
		}
		if ran++; !r.OK() {
			return false
		}
	}
	return ran > 0
}

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"s":  func(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()) },
	"s2": func(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) },
}).Parse(pageText))

// Write writes the page.
func (d *Document) Write(w io.Writer) error { return page.Execute(w, d) }

// Timeline draws the run.
func (r *Run) Timeline() template.HTML { return timeline(r.History) }

// few is the most faults that are shown one by one. Of more faults the worst of each
// name is shown.
const few = 30

// Costs draws what the faults cost.
func (r *Run) Costs() template.HTML {
	all := r.Report.Cost
	if len(all) > few {
		all = nil
		for _, l := range validate.Summary(r.Report.Cost) {
			all = append(all, l.Worst)
		}
	}
	return costs(all)
}

// Summary returns a line for each name of a fault.
func (r *Run) Summary() []validate.Line { return validate.Summary(r.Report.Cost) }

// Row is a line of the table of faults.
type Row struct {
	*model.Fault
	Lasted, Whole time.Duration
	Cost          string
	Bound         string
}

// Rows returns the faults.
func (r *Run) Rows() (rows []Row) {
	for _, c := range r.Report.Cost {
		f := c.Fault
		row := Row{Fault: f, Lasted: f.Heal - f.Start, Whole: c.Recovery, Cost: "none", Bound: "0"}
		if c.Over > 0 {
			row.Cost = fmt.Sprintf("%.1f", c.Over)
		}
		row.Bound = fmt.Sprintf("%.1f", c.Bound)
		rows = append(rows, row)
	}
	return rows
}

// Porcupine returns porcupine's page of one account's history, for a frame.
func (r *Run) Porcupine() (out struct{ Account, Page string }) {
	account, ops := validate.Picture(r.History)
	if len(ops) == 0 {
		return out
	}
	_, info := porcupine.CheckOperationsVerbose(model.Ledger, model.Operations(ops), 10*time.Second)
	var b bytes.Buffer
	if err := porcupine.Visualize(model.Ledger, info, &b); err != nil {
		b.Reset()
		fmt.Fprintf(&b, "no picture: %v", err)
	}
	out.Account, out.Page = account, b.String()
	return out
}
