//go:build faultinject

package replica

// Injection lists the protections that are off.
type Injection struct {
	NoCopies   bool // owners have no copies: what copies cost is measured against that
	NoHeal     bool // what fallback nodes admitted is not owed after a heal
	NoSmallest bool // what was sent since the last acknowledgement does not count
}

var noCopies, noHeal, noSmallest bool

// Inject turns the protections in f off and all others on. It must not be called
// while a Stream is in use.
func Inject(f Injection) { noCopies, noHeal, noSmallest = f.NoCopies, f.NoHeal, f.NoSmallest }
