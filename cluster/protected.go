//go:build !broken

package cluster

// Protections that only a build with the tag broken, which shows that tests
// notice, can do without.
const (
	fsync  = true // entries are on the disk before they are acknowledged
	leases = true // an owner decides only while it holds a lease
)
