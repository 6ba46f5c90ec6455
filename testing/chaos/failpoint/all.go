package failpoint

import (
	"fmt"
	"slices"

	"quorate/testing/chaos/backend"
)

// Cannot returns why a backend cannot inject a fault, empty if it can.
func Cannot(b backend.Backend, f Fault) string {
	has := func(list []Fault) bool {
		return slices.ContainsFunc(list, func(g Fault) bool { return g.Name == f.Name })
	}
	switch {
	case f.Name == "kill-two" && len(b.Nodes()) < 5:
		return "fewer than five nodes have no majority without two"
	case has(Membership):
		if _, ok := b.(backend.Members); !ok {
			return b.Name() + " have a fixed set of nodes"
		}
	case has(Network), has(Links):
		n, ok := b.(backend.Network)
		if !ok {
			return b.Name() + " share one loopback, whose links cannot be cut"
		}
		if has(Links) && !n.Directed() {
			return b.Name() + " can only be isolated as a whole"
		}
	case has(Delays):
		d, ok := b.(backend.Delays)
		if !ok {
			return b.Name() + " have no network whose packets can be delayed"
		}
		if err := d.CanDelay(); err != nil {
			return err.Error()
		}
	case has(Damage):
		if _, ok := b.(backend.Damage); !ok {
			return b.Name() + " have disks that the harness cannot reach"
		}
	case has(Clocks):
		if c, ok := b.(backend.Clocks); !ok || !c.Clocked() {
			return "the program uses the machine's clock; only the cluster `clocks` can set one"
		}
	case has(Disks):
		if _, ok := b.(backend.Disks); !ok {
			return b.Name() + " have no disks of their own"
		}
	}
	return ""
}

// Named returns the faults with the given names, in that order.
func Named(names ...string) (list []Fault, err error) {
	all := All()
	for _, name := range names {
		at := slices.IndexFunc(all, func(f Fault) bool { return f.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("no fault is named %q", name)
		}
		list = append(list, all[at])
	}
	return list, nil
}

// All returns every fault.
func All() []Fault {
	return slices.Concat(Processes, Membership, Network, Links, Delays, Disks, Damage, Clocks)
}
