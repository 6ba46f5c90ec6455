package limiter

import (
	"maps"
	"slices"
	"testing"

	"quorate/limiter/bucket"
)

// adopts makes n1 adopt the next map, with the boots of its members.
func (g *trio) adopts(p Part, nodes int64, boots map[string]uint64) {
	g.epoch++
	g.nodes[0].Adopt(&View{Epoch: g.epoch, Nodes: nodes, Parts: []Part{p}, Boots: boots})
}

// Which successors lack a whole copy, map by map.
func TestSuccessorsWithoutAWholeCopy(t *testing.T) {
	g := newTrio(perMinute("llm", bucket.Requests, 600))
	l := g.nodes[0]
	boots := func(n2, n3, n4 uint64) map[string]uint64 {
		return map[string]uint64{"n1": 1, "n2": n2, "n3": n3, "n4": n4}
	}
	for _, step := range []struct {
		what   string
		do     func()
		lack   []string
		places int // partitions that lack a copy or a successor
	}{
		{"new", func() {}, []string{"n2", "n3"}, 1},
		{"copied by an older map", func() { l.MarkCopied(g.epoch-1, []int{0}, "n2") }, []string{"n2", "n3"}, 1},
		{"copied to none of these", func() { l.MarkCopied(g.epoch, []int{0}, "n9") }, []string{"n2", "n3"}, 1},
		{"one is whole", func() { l.MarkCopied(g.epoch, []int{0}, "n2") }, []string{"n3"}, 1},
		{"both are", func() { l.MarkCopied(g.epoch, []int{0}, "n3") }, nil, 0},
		{"boots become known", func() { g.adopts(holders("n1", "n2", "n3"), 4, boots(1, 1, 1)) }, []string{"n2", "n3"}, 1},
		{"both again", func() { l.MarkCopied(g.epoch, []int{0}, "n3"); l.MarkCopied(g.epoch, []int{0}, "n2") }, nil, 0},
		{"they change places", func() { g.adopts(holders("n1", "n3", "n2"), 4, boots(1, 1, 1)) }, nil, 0},
		{"one has restarted", func() { g.adopts(holders("n1", "n3", "n2"), 4, boots(2, 1, 1)) }, []string{"n2"}, 1},
		{"another comes in its place", func() { g.adopts(holders("n1", "n3", "n4"), 4, boots(2, 1, 1)) }, []string{"n4"}, 1},
		{"and lacks it under the next map too", func() { g.adopts(holders("n1", "n3", "n4"), 4, boots(2, 1, 1)) }, []string{"n4"}, 1},
		{"and is whole", func() { l.MarkCopied(g.epoch, []int{0}, "n4") }, nil, 0},
		{"it goes", func() { g.adopts(holders("n1", "n3"), 4, boots(2, 1, 1)) }, nil, 1},
		{"and comes back", func() { g.adopts(holders("n1", "n4", "n3"), 4, boots(2, 1, 1)) }, []string{"n4"}, 1},
		{"there are two nodes", func() { g.adopts(holders("n1", "n3"), 2, boots(2, 1, 1)) }, nil, 0},
		{"another node owns it", func() { g.adopts(holders("n3", "n1"), 2, boots(2, 1, 1)) }, nil, 0},
		{"it comes back, and is recovering", func() { g.adopts(holders("n1", "n3"), 2, boots(2, 1, 1)) }, nil, 0},
		{"taken", func() { l.FinishRecovery(g.epoch, []int{0}) }, []string{"n3"}, 1},
	} {
		step.do()
		got := slices.Sorted(maps.Keys(l.Tasks().Copy))
		if !slices.Equal(got, step.lack) || l.Incomplete() != step.places {
			t.Errorf("%s: %v lack a copy, want %v; %d partitions, want %d", step.what, got, step.lack, l.Incomplete(), step.places)
		}
	}
}

// A node that has begun anew remembers nothing: what it had acknowledged covers
// nothing, until it is published again.
func TestNewBootHasForgottenItsCopies(t *testing.T) {
	for name, algorithm := range map[string]bucket.Algorithm{"token bucket": bucket.TokenBucket, "sliding window": bucket.SlidingWindow} {
		limit := perMinute("llm", bucket.Requests, 600)
		limit.Algorithm = algorithm
		g := newTrio(limit)
		g.adopts(holders("n1", "n2"), 2, map[string]uint64{"n1": 1, "n2": 1})
		g.must(t, 0, bucket.Check{Account: "a", Requests: 300})
		g.must(t, 0, bucket.Check{Account: "b", Requests: 300})
		for _, boot := range []uint64{1, 2} {
			g.adopts(holders("n1", "n2"), 2, map[string]uint64{"n1": 1, "n2": boot})
			ok, v := g.try(t, 0, bucket.Check{Account: "a", Requests: 1})
			if forgotten := v == Unreplicated; forgotten != (boot == 2) || ok == forgotten {
				t.Fatalf("%s: in boot %d of n2: outcome %d", name, boot, v)
			}
			g.sent = nil
		}
		// All that copies knew is published, as it is, by who owns it since when.
		all := g.nodes[0].Republish(0, "n2")
		if len(all) != 2 || len(g.nodes[0].Republish(0, "n3")) != 0 || len(g.nodes[1].Republish(0, "n1")) != 0 {
			t.Fatalf("%s: %d usage bounds", name, len(all))
		}
		for _, s := range all {
			units := s.State.Units
			if s.Sliding != nil {
				units = s.Sliding.Use(limit.Limit, 0)
			}
			if want := int64(300); s.To != "n2" || s.Origin == 0 || units < want || units > want+1 {
				t.Errorf("%s: %+v", name, s)
			}
			g.deliver(s, true)
		}
		if ok, _ := g.try(t, 0, bucket.Check{Account: "b", Requests: 1}); !ok {
			t.Errorf("%s: not replicated after all was published again", name)
		}
	}
}
