//go:build broken

package cluster

import (
	"os"
	"time"
)

var (
	fsync  = os.Getenv("QUORATE_BROKEN") != "fsync"
	leases = os.Getenv("QUORATE_BROKEN") != "lease"
)

// machineClock is ahead by what a file says, so that a process's clock can be set
// without the machine's.
func machineClock() time.Time {
	text, err := os.ReadFile(os.Getenv("QUORATE_AHEAD_FILE"))
	if err != nil {
		return time.Now()
	}
	ahead, err := time.ParseDuration(string(text))
	if err != nil {
		return time.Now()
	}
	return time.Now().Add(ahead)
}
