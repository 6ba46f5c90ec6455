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
	from  = flag.Int("from", 1, "the first of them")
	aim   = flag.String("aim", "", "plan faults by a script, of three nodes: any, twice, forgetful, behind, alone, lossy or handed")
)

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
		c := draw(*seed, *aim)
		c.Log = t.Logf
		t.Logf("%d nodes, mode %d, cut off %d", c.Nodes, c.Mode, c.CutOff)
		r := Run(c)
		t.Logf("%+v", r.Stats)
		for _, f := range r.Faults {
			t.Log(f)
		}
		if r.Violation != nil {
			t.Errorf("seed %d, %d nodes: %v", *seed, c.Nodes, r.Violation)
		}
		return
	}
	var mu sync.Mutex
	var sum Stats
	bad := 0
	var next atomic.Int64
	next.Store(int64(*from) - 1)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := next.Add(1); s < int64(*from+*seeds); s = next.Add(1) {
				c := draw(uint64(s), *aim)
				r := Run(c)
				mu.Lock()
				sum.add(&r.Stats)
				if r.Violation != nil {
					if bad++; bad < 10 {
						t.Errorf("seed %d, %d nodes: %v; %v", s, c.Nodes, r.Violation, r.Faults)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d bad; %+v", bad, sum)
}
