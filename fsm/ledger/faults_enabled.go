//go:build faultinject

package ledger

// Injection lists the protections that are off, and what the program is too old to
// know.
type Injection struct {
	NoDedupe  bool // a key counts each time that it is sent
	Commands1 bool // only commands of version 1 are known
	Commands3 bool // only commands of versions 1 to 3 are known
}

var (
	noDedupe      bool
	newestVersion uint64 = currentVersion
)

// Inject puts the faults in f into force and ends all others. It must not be
// called while a State is in use.
func Inject(f Injection) {
	noDedupe, newestVersion = f.NoDedupe, currentVersion
	if f.Commands1 {
		newestVersion = firstVersion
	} else if f.Commands3 {
		newestVersion = nanoVersion - 1
	}
}
