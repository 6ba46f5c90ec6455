package chaos

import (
	"context"
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

// plan is one cluster and what strikes it.
type plan struct {
	title  string
	seed   uint64
	begin  func(testing.TB) (backend.Backend, error)
	faults []failpoint.Fault
	// composite: faults drawn at random for so long, beside the list.
	random time.Duration
}

// say writes a line of progress, at once: go test holds back what a test logs
// until it ends.
func say(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }

// do runs a plan and returns what is to be reported. What cannot run here says
// why; what was found is in the report.
func (p *plan) do(t *testing.T) *report.Run {
	t.Helper()
	out := &report.Run{Title: p.title, Seed: p.seed}
	b, err := p.begin(t)
	if err != nil {
		out.Skipped = err.Error()
		say("%s: skipped: %v", p.title, err)
		return out
	}
	out.Backend = b.Name()
	say("%s on %s, seed %d", p.title, b.Name(), p.seed)
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
	env := failpoint.NewEnv(b)
	env.Traffic, env.Rec, env.Rng = load, rec, rand.New(rand.NewPCG(p.seed, 1))
	watching, stopWatching := context.WithCancel(t.Context())
	defer stopWatching()
	watched := make(chan struct{})
	go func() { env.Watch(watching); close(watched) }()

	// What processes hold when warm, without the clients' own connections.
	time.Sleep(3 * time.Second)
	load.Hold(true)
	idle, err := load.Resources(t.Context())
	load.Hold(false)
	if err != nil {
		t.Fatal(err)
	}
	var struck error
	for _, f := range p.faults {
		if struck = p.strike(env, f, out); struck != nil {
			break
		}
	}
	for end := rec.Now() + p.random; struck == nil && rec.Now() < end; {
		struck = p.strike(env, p.draw(env), out)
	}
	if struck != nil {
		out.Broken = struck.Error()
		say("  stopped: %v", struck)
		for _, n := range env.Up() {
			t.Logf("the end of %s's log:\n%s", n.ID, b.Log(n, 15))
		}
	}
	time.Sleep(2 * time.Second) // entries after the last fault, too
	load.Stop()
	stopWatching()
	<-watched
	say("  the clients have stopped; asking every node for all that was recorded")
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
	for _, r := range out.Report.Results {
		verdict := "ok  "
		if !r.OK {
			verdict = "FAIL"
		}
		say("  %s %-30s %s", verdict, r.Invariant, r.Figure)
		for _, d := range r.Details {
			say("         %s", d)
		}
	}
	return out
}

func (p *plan) strike(env *failpoint.Env, f failpoint.Fault, out *report.Run) error {
	if why := failpoint.Cannot(env.Backend, f); why != "" {
		out.Skips = append(out.Skips, report.Skip{Fault: f.Name, Why: why})
		say("  %7.1fs %-18s skipped: %s", env.Rec.Now().Seconds(), f.Name, why)
		return nil
	}
	before := len(env.Rec.Faults())
	err := f.Do(env)
	for _, done := range env.Rec.Faults()[before:] {
		say("  %7.1fs %-22s %v %s: whole %.2f s after its end", done.Start.Seconds(), done.Name, done.Nodes, done.Note, (done.Over - done.Heal).Seconds())
	}
	return err
}
