//go:build !faultinject

package node

import "time"

// wall is the wall clock. A build with the tag faultinject can set it wrong.
func wall() time.Time { return time.Now() }
