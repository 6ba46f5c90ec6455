//go:build !broken

package replica

// protected is for tests that take a protection away, in a build with the tag
// broken: this one has them all.
func protected(protection) bool { return true }
