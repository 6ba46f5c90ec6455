package failpoint

import (
	"slices"

	"quorate/testing/chaos/backend"
)

// Cannot says why a fault cannot be had on a backend, empty where it can.
func Cannot(b backend.Backend, f Fault) string {
	has := func(list []Fault) bool {
		return slices.ContainsFunc(list, func(g Fault) bool { return g.Name == f.Name })
	}
	switch {
	case has(Membership):
		if _, ok := b.(backend.Members); !ok {
			return b.Name() + " has a fixed set of nodes"
		}
	}
	return ""
}

// Named returns the faults of the names.
func Named(names ...string) (list []Fault) {
	for _, f := range slices.Concat(Processes, Membership) {
		if slices.Contains(names, f.Name) {
			list = append(list, f)
		}
	}
	return list
}

// All returns every fault.
func All() []Fault { return slices.Concat(Processes, Membership) }
