//go:build !broken

package cluster

import "time"

// Protections that only a build with the tag broken, which shows that tests
// notice, can do without.
const (
	fsync  = true // entries are on the disk before they are acknowledged
	leases = true // an owner decides only while it holds a lease
)

// machineClock is the wall clock of a node that is given none.
func machineClock() time.Time { return time.Now() }
