//go:build nocopies

package replica

const keep = false
