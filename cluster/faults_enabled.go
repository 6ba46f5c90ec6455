//go:build faultinject

package cluster

// Injection lists the protections that are off.
type Injection struct {
	NoFsync bool // entries are acknowledged before they are on the disk
	NoLease bool // an owner decides without holding a lease
}

var noFsync, noLease bool

// Inject turns the protections in f off and all others on. It must not be called
// while a node is open.
func Inject(f Injection) { noFsync, noLease = f.NoFsync, f.NoLease }
