package ownership

import (
	"testing"
	"time"

	"quorate/fsm/ledger"
)

const length = 2 * time.Second

// mapOf returns the map of an epoch in which one boot of node o owns the
// partitions that are true, and a, b and c grant.
func mapOf(epoch uint64, owned []bool, retiring ...string) *ledger.Map {
	m := &ledger.Map{
		Epoch: epoch, Members: []ledger.Member{{ID: "o", Boot: 1}, {ID: "x", Boot: 1}},
		Grantors: []string{"a", "b", "c"}, Retiring: retiring, Lease: length, Drift: length / 50,
	}
	for _, mine := range owned {
		place := [3]uint16{1, ledger.NoMember, ledger.NoMember}
		if mine {
			place[0] = 0
		}
		m.Places = append(m.Places, place)
	}
	return m
}

func owner() *Node { return New(ledger.Member{ID: "o", Boot: 1}, DefaultTiming()) }

func TestAMajorityOfGrantsHolds(t *testing.T) {
	n := owner()
	n.Adopt(mapOf(1, []bool{true, false}))
	for _, s := range []struct {
		name      string
		grantor   string // empty: none grants
		sent      time.Duration
		now       time.Duration
		partition int
		want      bool
	}{
		{"no grant", "", 0, 0, 0, false},
		{"one of three", "a", 0, 0, 0, false},
		{"two of three", "b", time.Second, time.Second, 0, true},
		{"not owned", "", 0, time.Second, 1, false},
		{"no such partition", "", 0, time.Second, 2, false},
		{"just before the older ends", "", 0, length - 1, 0, true},
		{"the older has ended", "", 0, length, 0, false},
		{"of no grantor", "x", length, length, 0, false},
		{"another's", "c", length, length, 0, true},
		{"a late answer takes nothing away", "c", 0, length, 0, true},
	} {
		if s.grantor != "" {
			n.holder.granted(s.grantor, 1, s.sent)
		}
		if got := n.Held().Valid(s.partition, s.now); got != s.want {
			t.Errorf("%s: held %v, want %v", s.name, got, s.want)
		}
	}
}

func TestGrantsOutliveAMapThatLeavesTheOwner(t *testing.T) {
	n := owner()
	n.Adopt(mapOf(5, []bool{true, true, false}))
	n.holder.granted("a", 5, 0)
	n.holder.granted("b", 5, 0)
	n.Adopt(mapOf(6, []bool{true, false, true}))
	v := n.Held()
	if !v.Valid(0, 1) || v.Valid(1, 1) || v.Valid(2, 1) {
		t.Errorf("kept %v, lost %v, new %v; want only the kept one", v.Valid(0, 1), v.Valid(1, 1), v.Valid(2, 1))
	}
	n.Adopt(mapOf(7, []bool{true, true, true}))
	if n.Held().Valid(1, 1) {
		t.Error("a partition that was away is held by the grants from before")
	}
	if n.Adopt(mapOf(6, []bool{false, false, false})) != nil || !n.Held().Valid(0, 1) {
		t.Error("an older map was adopted")
	}
}

// TestAdoptingGrantsNothing: whether a lease has held without a break must not
// be read from a grant that is given after the map was adopted.
func TestAdoptingGrantsNothing(t *testing.T) {
	n := New(ledger.Member{ID: "a", Boot: 1}, DefaultTiming())
	m := mapOf(1, []bool{true})
	m.Members[0].ID = "a"
	n.Applied(m, true)
	n.Adopt(m)
	n.Renew(0)
	n.holder.granted("b", 1, time.Second)
	later := *m
	later.Epoch = 3
	n.Applied(&later, true)
	n.Adopt(&later)
	if n.Held().Valid(0, length) {
		t.Error("one grant of three holds, its own has ended")
	}
	n.Renew(length)
	if !n.Held().Valid(0, length) {
		t.Error("its own grant does not count once it is renewed")
	}
}

func TestBothListsMustGrantWhileTheyChange(t *testing.T) {
	n := owner()
	n.Adopt(mapOf(1, []bool{true}, "c", "d", "e"))
	n.holder.granted("a", 1, 0)
	n.holder.granted("b", 1, 0)
	if n.Held().Valid(0, 1) {
		t.Error("the retiring list was not asked")
	}
	n.holder.granted("c", 1, 0)
	n.holder.granted("d", 1, 0)
	if !n.Held().Valid(0, 1) {
		t.Error("both have granted")
	}
}

func TestGrants(t *testing.T) {
	q := Ping{From: ledger.Member{ID: "o", Boot: 3}, Epoch: 7}
	for _, c := range []struct {
		name                   string
		applied, adopted, boot uint64
		ready, want            bool
	}{
		{"as the map says", 7, 7, 3, true, true},
		{"a map that is adopted and not applied yet counts", 6, 7, 3, true, true},
		{"so does one that is applied and not adopted yet", 7, 6, 3, true, true},
		{"the grantor has adopted a later one", 7, 8, 3, true, false},
		{"the grantor has applied a later one", 8, 7, 3, true, false},
		{"the grantor is behind", 6, 6, 3, true, false},
		{"the map names another boot", 7, 7, 2, true, false},
		{"no member", 7, 7, 0, true, false},
		{"the grantor has just restarted", 7, 7, 3, false, false},
	} {
		at := func(epoch uint64) *ledger.Map {
			m := &ledger.Map{Epoch: epoch}
			if c.boot != 0 {
				m.Members = []ledger.Member{{ID: "o", Boot: c.boot}}
			}
			return m
		}
		n := New(ledger.Member{ID: "a", Boot: 1}, DefaultTiming())
		n.Adopt(at(c.adopted))
		n.Applied(at(c.applied), c.ready)
		var p Pong
		if n.Answer(&q, 0, &p); p.Granted != c.want || p.AppliedEpoch != c.applied || p.Epoch != c.adopted {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
}

func BenchmarkValid(b *testing.B) {
	n := owner()
	owned := make([]bool, ledger.Partitions)
	owned[7] = true
	n.Adopt(mapOf(2, owned))
	for _, g := range []string{"a", "b", "c"} {
		n.holder.granted(g, 2, 0)
	}
	v := n.Held()
	for b.Loop() {
		if !v.Valid(7, 1) {
			b.Fatal("not held")
		}
	}
}
