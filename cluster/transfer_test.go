package cluster

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

func TestWhoLeadsNext(t *testing.T) {
	for name, c := range map[string]struct {
		to     string
		change func(v *view)
		want   string
		err    error
	}{
		"the lowest id of equals":         {"", func(*view) {}, "n2", nil},
		"who has applied most":            {"", func(v *view) { edit(v, "n3", func(k *nodeView) { k.applied = 9 }) }, "n3", nil},
		"nobody who is leaving":           {"", func(v *view) { edit(v, "n2", func(k *nodeView) { k.leaving = true }) }, "n3", nil},
		"nobody who does not answer":      {"", func(v *view) { edit(v, "n2", func(k *nodeView) { k.up = false }) }, "n3", nil},
		"nobody without a vote":           {"", func(v *view) { v.servers[1].Suffrage = raft.Nonvoter }, "n3", nil},
		"the one that is named":           {"n3", func(*view) {}, "n3", nil},
		"unless it lags":                  {"n3", func(v *view) { edit(v, "n3", func(k *nodeView) { k.ready = false }) }, "", ErrUnfit},
		"unless it has no vote":           {"n3", func(v *view) { v.servers[2].Suffrage = raft.Nonvoter }, "", ErrUnfit},
		"unless nobody knows it":          {"n4", func(*view) {}, "", ErrUnknownNode},
		"there must be another":           {"", func(v *view) { v.servers = v.servers[:1] }, "", ErrLastVoter},
		"there must be another with vote": {"", func(v *view) { v.servers[1].Suffrage, v.servers[2].Suffrage = raft.Nonvoter, raft.Nonvoter }, "", ErrLastVoter},
		"there must be a fit one": {"", func(v *view) {
			edit(v, "n2", func(k *nodeView) { k.up = false })
			edit(v, "n3", func(k *nodeView) { k.ready = false })
		}, "", ErrUnfit},
	} {
		v := three()
		c.change(&v)
		got, err := heir(v, "n1", c.to)
		if string(got.ID) != c.want || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %q, %v; want %q, %v", name, got.ID, err, c.want, c.err)
		}
	}
}

func edit(v *view, id string, change func(*nodeView)) {
	k := v.nodes[id]
	change(&k)
	v.nodes[id] = k
}
