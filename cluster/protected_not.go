//go:build broken

package cluster

import "os"

var (
	fsync  = os.Getenv("QUORATE_BROKEN") != "fsync"
	leases = os.Getenv("QUORATE_BROKEN") != "lease"
)
