//go:build broken

package replica

import (
	"os"
	"sync/atomic"
)

var lifted atomic.Int32

// A process is told at its start.
func init() {
	switch os.Getenv("QUORATE_BROKEN") {
	case "heal":
		LiftHeal()
	case "smallest":
		LiftSmallest()
	}
}

func protected(p protection) bool { return lifted.Load() != int32(p) }

// LiftSmallest takes away that the smallest of what was acknowledged and what
// was sent since counts, LiftHeal that what fallback nodes admitted is owed after a
// heal; Restore gives both back.
func LiftSmallest() { lifted.Store(int32(smallest)) }

// LiftHeal is described with LiftSmallest.
func LiftHeal() { lifted.Store(int32(heal)) }

// Restore is described with LiftSmallest.
func Restore() { lifted.Store(0) }
