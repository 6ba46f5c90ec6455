package sim

import (
	"flag"
	"testing"
)

var (
	seed  = flag.Uint64("seed", 0, "replay this seed and print what happens")
	seeds = flag.Int("seeds", 60, "how many seeds to run")
	bite  = flag.Bool("bite", false, "take protections away, one at a time")
	nodes = flag.Int("nodes", 3, "nodes of the replayed seed")
)

// Without any one of these protections a bound breaks: the simulator bites.
func TestEachProtectionIsNeeded(t *testing.T) {
	if !*bite {
		t.Skip("skipped: takes a minute; run with -bite")
	}
	for _, without := range []Without{Lease, Boot, Restart, Drain, Ack, Smallest, Merge, Counters, Exact, Heal} {
		t.Run(string(without), func(t *testing.T) {
			for s := uint64(1); s <= 3000; s++ {
				if r := Run(Config{Seed: s, Nodes: 3, Without: without}); r.Violation != nil {
					if Run(Config{Seed: s, Nodes: 3}).Violation != nil {
						continue // it breaks with all of them too
					}
					t.Logf("seed %d: %v; %v", s, r.Violation, r.Faults)
					return
				}
			}
			t.Error("no bound broke")
		})
	}
}

func TestBoundsHold(t *testing.T) {
	if *seed != 0 {
		r := Run(Config{Seed: *seed, Nodes: *nodes, Log: t.Logf})
		t.Logf("%+v", r.Stats)
		for _, f := range r.Faults {
			t.Log(f)
		}
		if r.Violation != nil {
			t.Error(r.Violation)
		}
		return
	}
	var sum Stats
	bad := 0
	for s := 1; s <= *seeds; s++ {
		r := Run(Config{Seed: uint64(s), Nodes: 3 + 2*(s%4/2)})
		sum.Checks += r.Stats.Checks
		sum.Allowed += r.Stats.Allowed
		sum.Failed += r.Stats.Failed
		sum.Degraded += r.Stats.Degraded
		sum.Events += r.Stats.Events
		if r.Violation != nil {
			bad++
			if bad < 10 {
				t.Errorf("seed %d: %v; %v", s, r.Violation, r.Faults)
			}
		}
	}
	t.Logf("%d bad; %+v", bad, sum)
}
