//go:build !faultinject

package cluster

// The faults that a build with the tag faultinject can inject. Here they are
// constants, so that the compiler removes their branches.
const (
	noFsync = false // entries are acknowledged before they are on the disk
	noLease = false // an owner decides without holding a lease
)
