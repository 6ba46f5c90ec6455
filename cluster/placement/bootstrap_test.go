package placement

import (
	"fmt"
	"testing"
)

func TestFounders(t *testing.T) {
	fresh := func(expect int, ids ...string) map[string]Founder {
		out := map[string]Founder{}
		for _, id := range ids {
			out[id] = Founder{Expect: expect}
		}
		return out
	}
	with := func(m map[string]Founder, id string, f Founder) map[string]Founder {
		m[id] = f
		return m
	}
	for name, c := range map[string]struct {
		seen   map[string]Founder
		expect int
		steady bool
		want   string
	}{
		"all that are expected":       {fresh(3, "n1", "n2", "n3"), 3, false, "[n1 n2 n3]"},
		"one alone":                   {fresh(1, "n1"), 1, false, "[n1]"},
		"one is missing":              {fresh(3, "n1", "n2"), 3, true, "2 of 3 nodes are seen"},
		"one too many, just now":      {fresh(3, "n1", "n2", "n3", "n4"), 3, false, ""},
		"one too many, for a while":   {fresh(3, "n1", "n2", "n3", "n4"), 3, true, "[n1 n2 n3]"},
		"they expect different nodes": {with(fresh(3, "n1", "n2", "n3"), "n2", Founder{Expect: 5}), 3, true, "the nodes disagree: n1 has --bootstrap-expect 3, n2 5"},
		"one only joins":              {with(fresh(3, "n1", "n2", "n3"), "n2", Founder{}), 3, true, "the nodes disagree: n1 has --bootstrap-expect 3, n2 0"},
		"one has data":                {with(fresh(3, "n1", "n2", "n3"), "n3", Founder{Expect: 3, Formed: true}), 3, true, ""},
		"this one only joins":         {fresh(0, "n1"), 0, true, "no node of a cluster is seen, and --bootstrap-expect is 0"},
	} {
		ids, why := Founders(c.seen, "n1", c.expect, c.steady)
		got := why
		if ids != nil {
			got = fmt.Sprint(ids)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
