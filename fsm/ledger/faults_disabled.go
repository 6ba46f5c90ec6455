//go:build !faultinject

package ledger

// The faults that a build with the tag faultinject can inject. Here they are
// constants, so that the compiler removes their branches.
const (
	noDedupe      = false // a key counts each time that it is sent
	newestVersion = currentVersion
)
