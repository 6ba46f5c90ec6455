//go:build !faultinject

package replica

// The faults that a build with the tag faultinject can inject. Here they are
// constants, so that the compiler removes their branches.
const (
	noCopies   = false // owners have no copies
	noHeal     = false // what fallback nodes admitted is not owed after a heal
	noSmallest = false // what was sent since the last acknowledgement does not count
)
