//go:build !nocopies

package replica

// keep is whether owners have copies. A build without any, by the tag nocopies,
// is what their cost is measured against; it is not for use.
const keep = true
