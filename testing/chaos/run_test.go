package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"quorate/testing/chaos/backend"
	"quorate/testing/chaos/failpoint"
	"quorate/testing/chaos/report"
	"quorate/testing/chaos/traffic"
	"quorate/testing/chaos/validate"
	"quorate/testing/testcluster"
)

// plan is one cluster and its faults.
type plan struct {
	title  string
	aside  bool // other plans may run at the same time
	seed   uint64
	begin  func(testing.TB) (backend.Backend, error)
	faults []failpoint.Fault
	// random is how long faults are drawn from the list, one or two at a time; 0: each
	// fault once, in order.
	random time.Duration
}

// say writes a line of progress at once: go test prints the log of a test only when it
// ends.
func say(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }

// say writes a line of progress of the plan.
func (p *plan) say(format string, args ...any) {
	say("%-10s "+format, append([]any{p.title}, args...)...)
}

// do runs a plan and returns its report, which contains why a plan was skipped.
func (p *plan) do(t *testing.T) *report.Run {
	t.Helper()
	out := &report.Run{Title: p.title, Seed: p.seed}
	b, err := p.begin(t)
	if err != nil && !errors.Is(err, backend.ErrCannot) {
		t.Fatal(err)
	}
	if err != nil {
		out.Skipped = err.Error()
		p.say("skipped: %v", err)
		return out
	}
	out.Backend = b.Name()
	p.say("%s, seed %d", b.Name(), p.seed)
	testcluster.Eventually(t, time.Minute, "the cluster is whole", func() error { return testcluster.Agree(b.Nodes()) })

	var ids []string
	for _, n := range b.Nodes() {
		ids = append(ids, n.ID)
	}
	rec := traffic.NewRecorder(ids)
	cfg := traffic.DefaultConfig()
	cfg.Seed, cfg.Nodes = p.seed, b.Nodes()
	load, err := traffic.Start(t.Context(), cfg, rec)
	if err != nil {
		t.Fatal(err)
	}
	hurt := failpoint.NewRun(b, load, rec)
	rng := rand.New(rand.NewPCG(p.seed, 1))
	watching, stopWatching := context.WithCancel(t.Context())
	defer stopWatching()
	watched := make(chan struct{})
	go func() { hurt.Watch(watching); close(watched) }()

	// The resources of the warm processes, without the connections of clients.
	time.Sleep(3 * time.Second)
	load.Hold(true)
	idle, err := load.Resources(t.Context())
	load.Hold(false)
	if err != nil {
		t.Fatal(err)
	}
	struck := p.all(hurt, rng, out)
	if struck != nil {
		out.Broken = struck.Error()
		p.say("stopped: %v", struck)
		for _, n := range hurt.Up() {
			t.Logf("the end of %s's log:\n%s", n.ID, b.Log(n, 15))
		}
	}
	time.Sleep(2 * time.Second) // entries after the last fault, too
	load.Stop()
	stopWatching()
	<-watched
	p.say("the clients have stopped; auditing every node")
	if err := load.Audit(t.Context()); err != nil {
		out.Broken += fmt.Sprintf(" audit: %v", err)
	}
	end, err := load.Resources(t.Context())
	if err != nil {
		out.Broken += fmt.Sprintf(" resources: %v", err)
	}
	load.KeepIdle(idle)
	load.KeepEnd(end)
	out.History = rec.History()
	out.Report = validate.All(out.History)
	p.say("%-22s %5s %22s %13s %17s", "", "times", "whole after: med, most", "no entry for", "over-admitted, of")
	for _, l := range validate.Summary(out.Report.Cost) {
		p.say("%-22s %5d %12.2f s %5.2f s %11.2f s %17s", l.Name, l.Times, l.Median.Seconds(), l.Most.Seconds(), l.Still.Seconds(), l.Worst.Seen())
	}
	for _, r := range out.Report.Results {
		verdict := "ok  "
		if !r.OK {
			verdict = "FAIL"
		}
		p.say("%s %-30s %s", verdict, r.Invariant, r.Figure)
		for _, d := range r.Details {
			p.say("       %s", d)
		}
	}
	return out
}

// all injects faults until the end of the run, or until the cluster does not become
// whole.
func (p *plan) all(hurt *failpoint.Run, rng *rand.Rand, out *report.Run) (err error) {
	if p.random > 0 {
		for end := hurt.Rec.Now() + p.random; err == nil && hurt.Rec.Now() < end; {
			err = p.strike(hurt, rng, out, p.draw(hurt.Backend, rng)...)
		}
		return err
	}
	for _, f := range p.faults {
		if err = p.strike(hurt, rng, out, f); err != nil {
			return err
		}
	}
	return nil
}

// strike injects one fault, or two together, and prints the result.
func (p *plan) strike(hurt *failpoint.Run, rng *rand.Rand, out *report.Run, faults ...failpoint.Fault) (err error) {
	for _, f := range faults {
		if why := failpoint.Cannot(hurt.Backend, f); why != "" {
			out.Skips = append(out.Skips, report.Skip{Fault: f.Name, Why: why})
			p.say("%7.1fs %-22s skipped: %s", hurt.Rec.Now().Seconds(), f.Name, why)
			return nil
		}
	}
	before, failed := len(hurt.Rec.Faults()), hurt.Rec.Failed()
	// A generator for each fault, so that the draws of one do not change another.
	own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
	mark := ""
	if len(faults) == 2 {
		err = hurt.Pair(faults[0], faults[1], own)
		mark = "+"
	} else {
		err = hurt.Strike(faults[0], own)
	}
	for _, done := range hurt.Rec.Faults()[before:] {
		p.say("%7.1fs %1s %-22s %v %s: whole %.2f s after its end", done.Start.Seconds(), mark, done.Name, done.Nodes, done.Note, done.Recovery(hurt.Rec.Faults()).Seconds())
	}
	for _, line := range validate.SoFar(hurt.Rec.Faults(), failed, hurt.Rec.Failed()) {
		p.say("         FAIL %s", line)
	}
	return err
}
