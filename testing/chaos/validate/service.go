package validate

import (
	"fmt"
	"strings"
	"time"

	"quorate/testing/chaos/model"
)

// longestGap is the longest time without an answer from a living node, without the time
// in which the clients' process did not run. The bound for one check is half a second;
// the rest allows for a busy machine.
const longestGap = time.Second

// Service checks that at nodes without a fault no check failed, and that those nodes had
// no long gap.
func Service(h *model.History) Result {
	r := Result{Invariant: "service", OK: true, Bound: fmt.Sprintf("no failed check at living nodes, no gap over %s", longestGap)}
	checks, failed := 0, 0
	for node, list := range h.Seconds {
		for i, s := range list {
			checks += s.Checks
			at := time.Duration(i) * time.Second
			if s.Beyond > 0 && !hurt(h, node, at, at+time.Second) {
				failed += s.Beyond
				r.fail("%d more checks at %s failed from %.0f s on", s.Beyond, node, at.Seconds())
			}
		}
	}
	for _, f := range h.Failures {
		if !hurt(h, f.Node, f.Asked, f.Answered) {
			failed++
			r.fail("a check at %s failed at %.2f s after %s: %.200s", f.Node, f.Answered.Seconds(), (f.Answered - f.Asked).Round(time.Millisecond), f.What)
		}
	}
	worst := map[string]time.Duration{}
	for _, g := range h.Gaps {
		if hurt(h, g.Node, g.From, g.To) {
			continue
		}
		net := g.To - g.From
		for _, s := range h.Stalls {
			net -= max(0, min(g.To, s.To)-max(g.From, s.From))
		}
		worst[g.Node] = max(worst[g.Node], net)
		if net > longestGap {
			r.fail("no check at %s was answered from %.2f s to %.2f s", g.Node, g.From.Seconds(), g.To.Seconds())
		}
	}
	if checks == 0 {
		r.fail("there was no check")
	}
	var gaps []string
	for _, n := range h.Nodes {
		if worst[n] > 0 {
			gaps = append(gaps, fmt.Sprintf("%s %s", n, worst[n].Round(time.Millisecond)))
		}
	}
	gap := "no gap over 200 ms"
	if len(gaps) > 0 {
		gap = "longest gaps " + strings.Join(gaps, ", ")
	}
	r.Figure = fmt.Sprintf("%d checks, %d failed at living nodes, %s", checks, failed, gap)
	return r
}

func hurt(h *model.History, node string, from, to time.Duration) bool {
	return anyHurts(h.Faults(), node, from, to)
}

func anyHurts(faults []*model.Fault, node string, from, to time.Duration) bool {
	for _, f := range faults {
		if f.Hurts(node, from, to) {
			return true
		}
	}
	return false
}

// Whole checks that the cluster was whole after each fault, and that entries
// were made after the last one.
func Whole(h *model.History) Result {
	r := Result{Invariant: "whole again after each fault", OK: true, Bound: "every node ready and every partition owned, leased and copied"}
	var last, longest time.Duration
	for _, f := range h.Faults() {
		if f.Unsettled != "" || f.Over == 0 {
			r.fail("%s of %v at %.1f s: %s", f.Name, f.Nodes, f.Start.Seconds(), f.Unsettled)
		}
		last, longest = max(last, f.Over), max(longest, f.Recovery(h.Faults()))
	}
	written := false
	for _, op := range h.Ops {
		written = written || op.Type != model.Read && op.Outcome == model.Applied && op.Answered > last
	}
	if len(h.Faults()) > 0 && !written {
		r.fail("no entry was made after the last fault")
	}
	r.Figure = fmt.Sprintf("%d faults, the longest recovery %s", len(h.Faults()), longest.Round(10*time.Millisecond))
	return r
}

// What a process may hold more at the end than before, without load both times.
const (
	moreGoroutines = 100
	moreFiles      = 64
	moreMemory     = 256 << 20
)

// Leaks compares the resources of processes at the end with those before the first
// fault.
func Leaks(h *model.History) Result {
	r := Result{Invariant: "no leaks", OK: true, Bound: fmt.Sprintf("at most %d goroutines, %d files and %d MiB more than before", moreGoroutines, moreFiles, moreMemory>>20)}
	before := map[string]model.Resources{}
	for _, b := range h.Idle {
		before[b.Node] = b
	}
	var goroutines, files, memory float64
	for _, e := range h.End {
		b, ok := before[e.Node]
		if !ok {
			continue
		}
		goroutines, files, memory = max(goroutines, e.Goroutines-b.Goroutines), max(files, e.Files-b.Files), max(memory, e.Heap-b.Heap)
		if e.Goroutines > b.Goroutines+moreGoroutines || e.Files > b.Files+moreFiles || e.Heap > b.Heap+moreMemory {
			r.fail("%s: %.0f goroutines, %.0f files, %.0f MiB; before %.0f, %.0f, %.0f", e.Node, e.Goroutines, e.Files, e.Heap/(1<<20), b.Goroutines, b.Files, b.Heap/(1<<20))
		}
	}
	if len(h.End) != len(h.Nodes) || len(h.Idle) != len(h.Nodes) {
		r.fail("%d of %d nodes told what they hold", len(h.End), len(h.Nodes))
	}
	r.Figure = fmt.Sprintf("%+.0f goroutines, %+.0f files, %+.0f MiB", goroutines, files, memory/(1<<20))
	return r
}
