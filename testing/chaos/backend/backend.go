// Package backend runs the clusters that are hurt: as processes on loopback, as
// processes in network namespaces with disks of their own, and as containers.
// What one can do beyond starting and ending nodes it says by implementing
// Network, Delays or Disks.
package backend

import (
	"errors"
	"math/rand/v2"
	"time"

	"quorate/testing/faultnet"
	"quorate/testing/testcluster"
)

// ErrCannot is why a backend does not run here.
var ErrCannot = errors.New("cannot run here")

// Backend runs a cluster. Its methods may overlap, but for those that strike the
// same node.
type Backend interface {
	// Name is one word for reports.
	Name() string
	// Nodes are the nodes that found the cluster, in order.
	Nodes() []*testcluster.Node
	// Start starts a node that does not run, with its flags and its data.
	Start(n *testcluster.Node) error
	// Kill ends a node at once; a node that has ended already is fine.
	Kill(n *testcluster.Node) error
	// Stop ends a node in order; an exit code other than 0 is an error.
	Stop(n *testcluster.Node) error
	// Freeze has a node stand still until Resume.
	Freeze(n *testcluster.Node) error
	Resume(n *testcluster.Node) error
	// Starve gives a node a tenth of a processor, or with false all of it again.
	Starve(n *testcluster.Node, yes bool) error
	// Ended reports whether a node has ended by itself.
	Ended(n *testcluster.Node) bool
	// Log returns the last lines that a node has logged.
	Log(n *testcluster.Node, lines int) string
}

// Members is a backend on which nodes can be added, and their data be wiped.
type Members interface {
	// Add lays out one more node.
	Add(id string) (*testcluster.Node, error)
	// Wipe removes the data of a node that does not run.
	Wipe(n *testcluster.Node) error
	// Forget gives back what an added node took, which will not start again.
	Forget(n *testcluster.Node) error
}

// Network is a backend whose links can be hurt, each direction on its own.
type Network interface {
	// Cut has nothing reach one node from another, silently.
	Cut(from, to *testcluster.Node) error
	// Isolate cuts a node off from all others, both ways, as far as the backend
	// knows how.
	Isolate(n *testcluster.Node) error
	// Directed says whether Cut works, or only Isolate.
	Directed() bool
	// Lose has a part of the packets to a node be lost, in percent.
	Lose(to *testcluster.Node, percent int) error
	// Mend undoes all of that.
	Mend() error
}

// Delays is a Network that can have the packets between nodes, and no client's, be
// late, doubled and out of order.
type Delays interface {
	// CanDelay says why it cannot, nil where it can.
	CanDelay() error
	// Delay begins with it, until Network.Mend. What has become of the packets so
	// far can be asked for from then on, also later.
	Delay(faultnet.Config) (func() faultnet.Counts, error)
}

// Disks is a backend whose nodes have disks that can be hurt.
type Disks interface {
	// PowerLoss ends a node together with all that its disk has not been told to
	// keep.
	PowerLoss(n *testcluster.Node) error
	// Hang has every write wait until Thaw.
	Hang(n *testcluster.Node) error
	Thaw(n *testcluster.Node) error
	// Fill leaves no room, Free gives it back.
	Fill(n *testcluster.Node) error
	Free(n *testcluster.Node) error
}

// Damage is a backend that can get at the files of a node that does not run.
type Damage interface {
	// FlipBits changes a few bytes of the node's log.
	FlipBits(n *testcluster.Node, rng *rand.Rand) error
}

// Clocks is a backend whose program, a testcluster.FaultBinary, has a wall clock
// that can be set.
type Clocks interface {
	// Clocked says whether it is that program.
	Clocked() bool
	// Step sets a node's wall clock ahead of the machine's.
	Step(n *testcluster.Node, ahead time.Duration) error
}
