package placement

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"quorate/fsm/ledger"
)

const parts = 4096

func nodes(n int) []candidate {
	out := make([]candidate, n)
	for i := range out {
		out[i].Member = ledger.Member{ID: fmt.Sprintf("n%03d", i), Boot: 1}
	}
	return out
}

// settle repeats nextRing, with every wait over and every handoff done at once.
func settle(t *testing.T, from *ledger.Map, nodes []candidate) *ledger.Map {
	t.Helper()
	for range 20 {
		next, changed := nextRing(ringView{Map: from, candidates: nodes, leasesExpired: true, handedOver: slices.Repeat([]bool{true}, parts)}, parts)
		if !changed {
			return next
		}
		from = next
	}
	t.Fatal("it does not come to rest")
	return from
}

func owned(t *ledger.Map) map[string]int {
	out := map[string]int{}
	for _, p := range t.Places {
		if p[0] != noMember {
			out[t.Members[p[0]].ID]++
		}
	}
	return out
}

func owner(t *ledger.Map, p int) string {
	if at := t.Places[p][0]; at != noMember {
		return t.Members[at].ID
	}
	return ""
}

func busiest(t *ledger.Map) (most int) {
	for _, n := range owned(t) {
		most = max(most, n)
	}
	return most
}

func TestLoadIsBounded(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 10, 100} {
		table := settle(t, &ledger.Map{}, nodes(n))
		most, mean := busiest(table), float64(parts)/float64(n)
		t.Logf("%d nodes: busiest %d partitions, %.3f of the mean", n, most, float64(most)/mean)
		if float64(most) > 1.10*mean {
			t.Errorf("%d nodes: busiest %d, mean %.0f", n, most, mean)
		}
	}
}

func TestJoinMovesLittle(t *testing.T) {
	for _, n := range []int{1, 2, 3, 9, 99} {
		before := settle(t, &ledger.Map{}, nodes(n))
		after := settle(t, before, nodes(n+1))
		moved := 0
		for p := range after.Places {
			if owner(before, p) != owner(after, p) {
				moved++
			}
		}
		t.Logf("%d to %d nodes: %d moved, %.3f/N", n, n+1, moved, float64(moved)*float64(n+1)/parts)
		if most := 1.2 * parts / float64(n+1); float64(moved) > most {
			t.Errorf("%d to %d nodes: %d moved, at most %.0f", n, n+1, moved, most)
		}
		if got, mean := owned(after)[nodes(n + 1)[n].ID], float64(parts)/float64(n+1); float64(got) < 0.85*mean {
			t.Errorf("%d to %d nodes: the new one owns %d, mean %.0f", n, n+1, got, mean)
		}
		if most, mean := busiest(after), float64(parts)/float64(n+1); float64(most) > 1.10*mean {
			t.Errorf("%d to %d nodes: busiest %d, mean %.0f", n, n+1, most, mean)
		}
	}
}

func TestADeathMovesNothingOfTheLiving(t *testing.T) {
	all := nodes(5)
	before := settle(t, &ledger.Map{}, all)
	all[2].lost = true
	after, _ := nextRing(ringView{Map: before, candidates: all, leasesExpired: true}, parts)
	for p, place := range before.Places {
		switch was := owner(before, p); {
		case was != "n002" && owner(after, p) != was:
			t.Fatalf("partition %d of the living %s went to %q", p, was, owner(after, p))
		case was == "n002" && after.Places[p][0] != noMember:
			t.Fatalf("partition %d of the lost owner went to %q without a wait", p, owner(after, p))
		case was == "n002" && after.Members[after.Places[p][1]] != before.Members[place[1]]:
			t.Fatalf("partition %d: the next is not the first successor", p)
		}
	}
	waiting, changed := nextRing(ringView{Map: after, candidates: all}, parts)
	if changed {
		t.Error("something changed while the wait is not over")
	}
	active, _ := nextRing(ringView{Map: waiting, candidates: all, leasesExpired: true}, parts)
	for p, place := range before.Places {
		if owner(before, p) == "n002" && owner(active, p) != before.Members[place[1]].ID {
			t.Fatalf("partition %d went to %q, not to its first successor", p, owner(active, p))
		}
	}
	if most, mean := busiest(settle(t, active, all)), parts/4.0; float64(most) > 1.10*mean {
		t.Errorf("busiest %d, mean %.0f", most, mean)
	}
}

func TestALaterBootNeedsNoWait(t *testing.T) {
	all := nodes(3)
	before := settle(t, &ledger.Map{}, all)
	all[0].Boot = 2
	after, _ := nextRing(ringView{Map: before, candidates: all}, parts)
	for p, place := range before.Places {
		if owner(before, p) == "n000" && owner(after, p) != before.Members[place[1]].ID {
			t.Fatalf("partition %d of the earlier boot went to %q", p, owner(after, p))
		}
		if owner(before, p) != "n000" && !moving(after, p) && after.Members[after.Places[p][1]].ID == "n000" && before.Members[place[2]].ID != "n000" {
			t.Fatalf("partition %d: a node that lost its copy precedes one that has it", p)
		}
	}
	if most, mean := busiest(settle(t, after, all)), parts/3.0; float64(most) > 1.10*mean {
		t.Errorf("busiest %d, mean %.0f", most, mean)
	}
}

func TestALeavingNodeHandsAllOver(t *testing.T) {
	all := nodes(3)
	before := settle(t, &ledger.Map{}, all)
	all[1].leaving = true
	first, _ := nextRing(ringView{Map: before, candidates: all}, parts)
	for p := range before.Places {
		if mine := owner(before, p) == "n001"; moving(first, p) != mine || owner(first, p) != owner(before, p) {
			t.Fatalf("partition %d: moves %v, owned by %q", p, moving(first, p), owner(first, p))
		}
	}
	after := settle(t, first, all)
	if got := owned(after)["n001"]; got != 0 {
		t.Errorf("the leaving node still owns %d", got)
	}
}

func TestPlacesNameThreeNodesOrNobody(t *testing.T) {
	for n := 1; n < 5; n++ {
		for p, place := range settle(t, &ledger.Map{}, nodes(n)).Places {
			seen := map[uint16]bool{}
			for role, at := range place {
				if role < n != (at != noMember) {
					t.Fatalf("%d nodes, partition %d: %v", n, p, place)
				}
				if at != noMember && seen[at] {
					t.Fatalf("partition %d names a node twice: %v", p, place)
				}
				seen[at] = true
			}
		}
	}
}

// Whatever happens to the nodes: a partition never goes from one boot that may
// still admit to another, unless it was handed over or a wait is over.
func TestNoTwoOwners(t *testing.T) {
	const few = 16
	rapid.Check(t, func(rt *rapid.T) {
		all := nodes(rapid.IntRange(1, 5).Draw(rt, "nodes"))
		over := func(l ledger.Member) bool {
			return slices.ContainsFunc(all, func(n candidate) bool { return n.ID == l.ID && n.Boot > l.Boot })
		}
		table, _ := nextRing(ringView{Map: &ledger.Map{}, candidates: all}, few)
		may := make([][]ledger.Member, few) // the members that may admit, by partition
		for p := range may {
			may[p] = []ledger.Member{table.Members[table.Places[p][0]]}
		}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			i := rapid.IntRange(0, len(all)-1).Draw(rt, "node")
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0:
				all[i].lost = !all[i].lost
			case 1: // restarted: the earlier boot is over
				old := all[i].Member
				all[i].Boot++
				all[i].lost = false
				for p := range may {
					may[p] = slices.DeleteFunc(may[p], func(l ledger.Member) bool { return l == old })
				}
			case 2:
				all[i].leaving = !all[i].leaving
			}
			v := ringView{Map: table, candidates: all, leasesExpired: rapid.Bool().Draw(rt, "passed"), handedOver: make([]bool, few)}
			for p := range few {
				if moving(table, p) && rapid.Bool().Draw(rt, "released") {
					importer := table.Members[table.Places[p][1]]
					if slices.ContainsFunc(all, func(n candidate) bool { return n.Member == importer }) {
						v.handedOver[p] = true
						may[p] = []ledger.Member{importer}
					}
				}
				if v.leasesExpired && table.Places[p][0] == noMember {
					may[p] = nil
				}
			}
			next, _ := nextRing(v, few)
			for p, place := range next.Places {
				if place[0] == noMember {
					continue
				}
				owner := next.Members[place[0]]
				for _, l := range may[p] {
					importer := moving(next, p) && l == next.Members[place[1]]
					if l != owner && !importer {
						rt.Fatalf("partition %d is %v's while %v may decide", p, owner, l)
					}
				}
				if !slices.Contains(may[p], owner) && !over(owner) {
					may[p] = append(may[p], owner)
				}
				if moving(next, p) { // the owner may hand over before the leader knows
					if importer := next.Members[place[1]]; !slices.Contains(may[p], importer) && !over(importer) {
						may[p] = append(may[p], importer)
					}
				}
			}
			table = next
		}
	})
}
