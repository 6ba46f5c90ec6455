package placement

import (
	"fmt"
	"maps"
	"slices"
)

// MaxFounders is the most nodes that a cluster can be formed by.
const MaxFounders = 7

// Founder is what a node without a cluster says of itself.
type Founder struct {
	Expect int  // its --bootstrap-expect
	Formed bool // it is in a cluster
}

// Founders returns the nodes that form a cluster now, nil if it is not time: all
// nodes that are seen expect the same number, none was ever in a cluster, and
// there are exactly that many, or more and steady is true: the same nodes have
// been seen for a while. Then the lowest ids form it, and the first of them
// proposes it to the others. waiting is what is missing.
func Founders(seen map[string]Founder, self string, expect int, steady bool) (ids []string, waiting string) {
	ids = slices.Sorted(maps.Keys(seen))
	for _, id := range ids {
		switch n := seen[id]; {
		case n.Formed:
			return nil, "" // there is a cluster
		case n.Expect != expect:
			return nil, fmt.Sprintf("the nodes disagree: %s has --bootstrap-expect %d, %s %d", self, expect, id, n.Expect)
		}
	}
	switch {
	case expect == 0:
		return nil, "no node of a cluster is seen, and --bootstrap-expect is 0"
	case len(ids) < expect:
		return nil, fmt.Sprintf("%d of %d nodes are seen", len(ids), expect)
	case len(ids) > expect && !steady:
		return nil, ""
	}
	return ids[:expect], ""
}
