package sim

import (
	"flag"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	seed  = flag.Uint64("seed", 0, "replay this seed and print what happens")
	seeds = flag.Int("seeds", 60, "how many seeds to run")
	bite  = flag.Bool("bite", false, "take protections away, one at a time")
)

// Without any one of these protections a bound breaks: the simulator bites.
func TestEachProtectionIsNeeded(t *testing.T) {
	if !*bite {
		t.Skip("skipped: takes a minute; run with -bite")
	}
	for _, without := range []Without{Lease, Boot, Restart, Drain, Ack, Smallest, Merge, Counters, Exact} {
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

func TestASeedReplaysItsRun(t *testing.T) {
	for s := uint64(1); s <= 30; s++ {
		a, b := Run(Draw(s)), Run(Draw(s))
		if a.Stats != b.Stats {
			t.Errorf("seed %d: %+v, then %+v", s, a.Stats, b.Stats)
		}
	}
}

func TestBoundsHold(t *testing.T) {
	if *seed != 0 {
		c := Draw(*seed)
		c.Log = t.Logf
		t.Logf("%d nodes, mode %d, cut off %d", c.Nodes, c.Mode, c.CutOff)
		r := Run(c)
		t.Logf("%+v", r.Stats)
		for _, f := range r.Faults {
			t.Log(f)
		}
		if r.Violation != nil {
			t.Error(r.Violation)
		}
		return
	}
	var mu sync.Mutex
	var sum Stats
	bad := 0
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := next.Add(1); s <= int64(*seeds); s = next.Add(1) {
				r := Run(Draw(uint64(s)))
				mu.Lock()
				sum.add(&r.Stats)
				if r.Violation != nil {
					if bad++; bad < 10 {
						t.Errorf("seed %d, %d nodes: %v; %v", s, Draw(uint64(s)).Nodes, r.Violation, r.Faults)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d bad; %+v", bad, sum)
}
