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
	bite  = flag.Uint64("bite", 200, "how many seeds to try without each protection")
)

// aims has each protection that a bound depends on, with faults aimed at it where
// chance finds it too seldom.
var aims = []struct {
	without Without
	script  Script
}{
	{Lease, nil},
	{Boot, twice},
	{Restart, forgetful},
	{Drain, behind},
	{Ack, nil},
	{Smallest, lossy},
	{Merge, alone},
	{Counters, nil},
	{Exact, nil},
	{Heal, nil},
}

// Without any one of these protections a bound breaks, and with all of them the
// same run keeps it: the simulator bites.
func TestEachProtectionIsNeeded(t *testing.T) {
	for _, a := range aims {
		t.Run(string(a.without), func(t *testing.T) {
			lift, ok := lifts[a.without]
			if !ok && (a.without == Smallest || a.without == Heal) {
				t.Skip("skipped: it is taken away within the product: build with -tags faultinject")
			}
			for s := uint64(1); s <= *bite; s++ {
				c := Config{Seed: s, Nodes: 3, Without: a.without, Script: a.script}
				if ok {
					lift(true)
				}
				broken := Run(c).Violation
				if ok {
					lift(false)
				}
				if c.Without = Nothing; broken != nil && Run(c).Violation == nil {
					t.Logf("seed %d: %v", s, broken)
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
