//go:build faultinject

package node

import (
	"fmt"
	"os"
	"strings"
	"time"

	"quorate/cluster"
	"quorate/fsm/ledger"
	"quorate/limiter/replica"
)

// InjectFaults injects the faults of a list with commas. It must be called before
// anything else of the product runs.
//
//	nofsync     entries are acknowledged before they are on the disk
//	nolease     owners decide without a lease
//	nodedupe    a key counts each time that it is sent
//	nocopies    owners have no copies
//	noheal      what fallback nodes admitted is not owed after a heal
//	nosmallest  what was sent since the last acknowledgement does not count
//	commands1   the program knows only commands of version 1
//	commands3   the program knows only commands of versions 1 to 3
//	clock=FILE  the wall clock is ahead by the duration in FILE, if it exists
func InjectFaults(list string) error {
	var c cluster.Injection
	var l ledger.Injection
	var r replica.Injection
	switches := map[string]*bool{
		"nofsync": &c.NoFsync, "nolease": &c.NoLease,
		"nodedupe": &l.NoDedupe, "commands1": &l.Commands1, "commands3": &l.Commands3,
		"nocopies": &r.NoCopies, "noheal": &r.NoHeal, "nosmallest": &r.NoSmallest,
	}
	for name := range strings.SplitSeq(list, ",") {
		if file, ok := strings.CutPrefix(name, "clock="); ok {
			clockFile = file
		} else if s := switches[name]; s != nil {
			*s = true
		} else {
			return fmt.Errorf("unknown fault %q", name)
		}
	}
	cluster.Inject(c)
	ledger.Inject(l)
	replica.Inject(r)
	return nil
}

// clockFile holds by how much the wall clock is ahead; empty: it is right.
var clockFile string

// wall is the wall clock. Its file is read each time, so that a test can set the
// clock of a process that runs.
func wall() time.Time {
	if clockFile == "" {
		return time.Now()
	}
	text, err := os.ReadFile(clockFile)
	if err != nil {
		return time.Now()
	}
	ahead, err := time.ParseDuration(string(text))
	if err != nil {
		return time.Now()
	}
	return time.Now().Add(ahead)
}
