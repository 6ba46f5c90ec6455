package ring

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
)

const parts = 4096

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("n%03d", i)
	}
	return out
}

func owned(t Table) map[string]int {
	out := map[string]int{}
	for _, p := range t.Places {
		out[t.Members[p[0]]]++
	}
	return out
}

func TestLoadIsBounded(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 10, 100} {
		busiest := 0
		for _, c := range owned(Next(Table{}, names(n), parts)) {
			busiest = max(busiest, c)
		}
		if mean := float64(parts) / float64(n); float64(busiest) > 1.10*mean {
			t.Errorf("%d nodes: busiest %d, mean %.0f", n, busiest, mean)
		}
	}
}

func TestJoinMovesLittle(t *testing.T) {
	for _, n := range []int{1, 2, 3, 9} {
		before := Next(Table{}, names(n), parts)
		after := Next(before, names(n+1), parts)
		moved := 0
		for i := range after.Places {
			if before.Members[before.Places[i][0]] != after.Members[after.Places[i][0]] {
				moved++
			}
		}
		if most := 1.2 * parts / float64(n+1); float64(moved) > most {
			t.Errorf("%d to %d nodes: %d moved, at most %.0f", n, n+1, moved, most)
		}
		if got := owned(after)[names(n + 1)[n]]; float64(got) < 0.8*parts/float64(n+1) {
			t.Errorf("%d to %d nodes: the new one owns %d", n, n+1, got)
		}
	}
}

func TestSuccessorsTakeOverFromTheDead(t *testing.T) {
	before := Next(Table{}, names(5), parts)
	living := slices.Delete(names(5), 2, 3)
	after := Next(before, living, parts)
	for i, p := range before.Places {
		was := before.Members[p[0]]
		now := after.Members[after.Places[i][0]]
		if was == "n002" && now != before.Members[p[1]] && now != before.Members[p[2]] && owned(after)[before.Members[p[1]]] < parts/4 {
			t.Fatalf("partition %d of the dead node went to %s, not to a successor", i, now)
		}
		if was != "n002" && now != was && owned(after)[was] < parts/4 {
			t.Fatalf("partition %d moved from the living %s to %s", i, was, now)
		}
	}
}

func TestPlacesNameThreeNodesOrNobody(t *testing.T) {
	for n := range 5 {
		for i, p := range Next(Table{}, names(n), parts).Places {
			seen := map[uint16]bool{}
			for role, at := range p {
				if role < n != (at != Nobody) {
					t.Fatalf("%d nodes, partition %d: %v", n, i, p)
				}
				if at != Nobody && seen[at] {
					t.Fatalf("partition %d names a node twice: %v", i, p)
				}
				seen[at] = true
			}
		}
	}
}

func TestNextIsStable(t *testing.T) {
	once := Next(Table{}, names(3), parts)
	if again := Next(once, names(3), parts); !reflect.DeepEqual(once, again) {
		t.Fatal("the same members gave another table")
	}
}
