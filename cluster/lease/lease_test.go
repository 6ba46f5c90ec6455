package lease

import (
	"slices"
	"testing"
	"time"
)

const length = 2 * time.Second

func terms(epoch uint64, retiring ...string) Terms {
	return Terms{Epoch: epoch, Grantors: []string{"a", "b", "c"}, Retiring: retiring, Length: length, Drift: length / 100}
}

func TestAMajorityOfGrantsHolds(t *testing.T) {
	h := NewHolder()
	h.Adopt(terms(1), []bool{true, false})
	step := func(what string, now time.Duration, partition int, want bool) {
		t.Helper()
		if got := h.Held().Valid(partition, now); got != want {
			t.Errorf("%s: held %v, want %v", what, got, want)
		}
	}
	step("no grant", 0, 0, false)
	h.Granted("a", 1, 0)
	step("one of three", 0, 0, false)
	h.Granted("b", 1, time.Second)
	step("two of three", time.Second, 0, true)
	step("not owned", time.Second, 1, false)
	step("no such partition", time.Second, 2, false)
	step("just before the older ends", length-1, 0, true)
	step("the older has ended", length, 0, false)
	h.Granted("x", 1, length)
	step("of no grantor", length, 0, false)
	h.Granted("c", 1, length)
	step("another's", length, 0, true)
	h.Granted("c", 1, 0)
	step("a late answer takes nothing away", length, 0, true)
}

func TestGrantsOutliveAMapThatLeavesTheOwner(t *testing.T) {
	h := NewHolder()
	h.Adopt(terms(5), []bool{true, true, false})
	h.Granted("a", 5, 0)
	h.Granted("b", 5, 0)
	h.Adopt(terms(6), []bool{true, false, true})
	v := h.Held()
	if !v.Valid(0, 1) || v.Valid(1, 1) || v.Valid(2, 1) {
		t.Errorf("kept %v, lost %v, new %v; want only the kept one", v.Valid(0, 1), v.Valid(1, 1), v.Valid(2, 1))
	}
	h.Adopt(terms(7), []bool{true, true, true})
	if h.Held().Valid(1, 1) {
		t.Error("a partition that was away is held by the grants from before")
	}
	if h.Adopt(terms(6), []bool{false, false, false}) || !h.Held().Valid(0, 1) {
		t.Error("an older map was adopted")
	}
}

func TestBothListsMustGrantWhileTheyChange(t *testing.T) {
	h := NewHolder()
	h.Adopt(terms(1, "c", "d", "e"), []bool{true})
	h.Granted("a", 1, 0)
	h.Granted("b", 1, 0)
	if h.Held().Valid(0, 1) {
		t.Error("the retiring list was not asked")
	}
	h.Granted("c", 1, 0)
	h.Granted("d", 1, 0)
	if !h.Held().Valid(0, 1) {
		t.Error("both have granted")
	}
	if got := h.Ask(); !slices.Equal(got, []string{"a", "b", "c", "d", "e"}) {
		t.Errorf("ask %v", got)
	}
}

func TestGrant(t *testing.T) {
	q := Request{Life: Life{"a", 3}, Epoch: 7}
	for _, c := range []struct {
		name        string
		epoch, boot uint64
		ready, want bool
	}{
		{"as the map says", 7, 3, true, true},
		{"the grantor has moved on", 8, 3, true, false},
		{"the grantor is behind", 6, 3, true, false},
		{"the map names another life", 7, 2, true, false},
		{"no member", 7, 0, true, false},
		{"the grantor has just restarted", 7, 3, false, false},
	} {
		if got := Grant(q, c.epoch, c.boot, c.ready); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func BenchmarkValid(b *testing.B) {
	h := NewHolder()
	h.Adopt(terms(1), make([]bool, 4096))
	owned := make([]bool, 4096)
	owned[7] = true
	h.Adopt(terms(2), owned)
	for _, g := range []string{"a", "b", "c"} {
		h.Granted(g, 2, 0)
	}
	v := h.Held()
	for b.Loop() {
		if !v.Valid(7, 1) {
			b.Fatal("not held")
		}
	}
}
