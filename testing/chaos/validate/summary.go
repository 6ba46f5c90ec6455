package validate

import (
	"fmt"
	"slices"
	"time"
)

// Line summarizes the faults of one name in a run.
type Line struct {
	Name   string
	Times  int
	Worst  Cost          // the fault that came closest to its bound or exceeded it
	Median time.Duration // of the time until the cluster was whole
	Most   time.Duration // likewise
	Still  time.Duration // the longest without an entry of the ledger
}

// Summary returns a line for each name, in the order of their first fault.
func Summary(costs []Cost) (lines []Line) {
	whole := map[string][]time.Duration{}
	for _, c := range costs {
		at := slices.IndexFunc(lines, func(l Line) bool { return l.Name == c.Fault.Name })
		if at < 0 {
			at = len(lines)
			lines = append(lines, Line{Name: c.Fault.Name, Worst: c})
		}
		l := &lines[at]
		l.Times++
		l.Still = max(l.Still, c.Still)
		if c.Measured && !l.Worst.Measured || c.Over > 0 && (l.Worst.Over <= 0 || c.Over-c.Bound > l.Worst.Over-l.Worst.Bound) {
			l.Worst = c
		}
		whole[l.Name] = append(whole[l.Name], c.Recovery)
	}
	for i := range lines {
		all := whole[lines[i].Name]
		slices.Sort(all)
		lines[i].Median, lines[i].Most = all[len(all)/2], all[len(all)-1]
	}
	return lines
}

// Seen returns the over-admission and its bound as text.
func (c Cost) Seen() string {
	switch {
	case !c.Measured:
		return "never alone"
	case c.Over <= 0:
		return fmt.Sprintf("none of %.1f", c.Bound)
	}
	return fmt.Sprintf("%.1f of %.1f", c.Over, c.Bound)
}
