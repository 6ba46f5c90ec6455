// Package report makes one page of a run that a person can read, and that needs
// nothing beside itself.
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
	Command string    // that does it all again
	Version string    // of what was hurt
	Made    time.Time //
	Runs    []*Run
}

// Run is one cluster that was hurt.
type Run struct {
	Title, Backend string
	Seed           uint64
	Skipped        string // why it did not run
	Broken         string // why it could not be brought to its end
	Skips          []Skip
	History        *model.History
	Report         *validate.Report
}

// Skip is a fault that the backend does not have.
type Skip struct{ Fault, Why string }

// OK reports whether the run came to its end and every invariant held.
func (r *Run) OK() bool { return r.Broken == "" && r.Report != nil && r.Report.OK() }

// OK reports whether something ran, and all that did was as promised.
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

// Timeline is the run's picture.
func (r *Run) Timeline() template.HTML { return timeline(r.History) }

// few is how many faults are shown one by one; of more, each name's worst.
const few = 30

// Costs is the picture of what faults cost.
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

// Summary is a line for each fault's name.
func (r *Run) Summary() []validate.Line { return validate.Summary(r.Report.Cost) }

// Row is a line of the table of faults.
type Row struct {
	*model.Fault
	Lasted, Whole time.Duration
	Cost          string
	Bound         string
}

// Rows are the faults.
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

// Porcupine is its picture of one account's history, to be shown apart from the
// rest of the page.
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
