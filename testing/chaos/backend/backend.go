// Package backend runs clusters as processes on loopback, as processes in network
// namespaces with disks of their own, and as containers. A backend that can inject
// more faults than those of processes implements Members, Network, Delays, Disks,
// Damage or Clocks.
package backend

import (
	"errors"
	"math/rand/v2"
	"time"

	"quorate/testing/faultnet"
	"quorate/testing/testcluster"
)

// ErrCannot is wrapped by the reason why a backend does not run on this machine.
var ErrCannot = errors.New("cannot run here")

// Backend runs a cluster. Calls for different nodes may overlap.
type Backend interface {
	// Name returns one word for reports.
	Name() string
	// Nodes returns the nodes that form the cluster, in order.
	Nodes() []*testcluster.Node
	// Start starts a node that does not run, with its flags and its data.
	Start(n *testcluster.Node) error
	// Kill ends a node with SIGKILL. It returns nil if the node has ended already.
	Kill(n *testcluster.Node) error
	// Stop ends a node with SIGTERM. An exit code other than 0 is an error.
	Stop(n *testcluster.Node) error
	// Freeze stops a node until Resume.
	Freeze(n *testcluster.Node) error
	Resume(n *testcluster.Node) error
	// Starve limits a node to a tenth of a processor, or with false removes the limit.
	Starve(n *testcluster.Node, yes bool) error
	// Ended reports whether a node has ended by itself.
	Ended(n *testcluster.Node) bool
	// Log returns the last lines of a node's log.
	Log(n *testcluster.Node, lines int) string
}

// Members is a backend that can add nodes and wipe their data.
type Members interface {
	// Add lays out one more node.
	Add(id string) (*testcluster.Node, error)
	// Wipe removes the data of a node that does not run.
	Wipe(n *testcluster.Node) error
	// Forget releases the resources of an added node, which will not start again.
	Forget(n *testcluster.Node) error
}

// Network is a backend that can cut links, each direction on its own.
type Network interface {
	// Cut drops all packets from one node to another.
	Cut(from, to *testcluster.Node) error
	// Isolate cuts a node off from all others, in both directions if the backend can.
	Isolate(n *testcluster.Node) error
	// Directed reports whether Cut works; if not, only Isolate does.
	Directed() bool
	// Lose drops a percentage of the packets to a node.
	Lose(to *testcluster.Node, percent int) error
	// Mend undoes all of that.
	Mend() error
}

// Delays is a Network that can delay, duplicate and reorder the packets between nodes,
// but not those of clients.
type Delays interface {
	// CanDelay returns why the backend cannot, nil if it can.
	CanDelay() error
	// Delay delays packets until Network.Mend. The function that it returns counts the
	// packets so far, also after Mend.
	Delay(faultnet.Config) (func() faultnet.Counts, error)
}

// Disks is a backend whose nodes have disks of their own.
type Disks interface {
	// PowerLoss ends a node and drops all writes that its disk has not synced.
	PowerLoss(n *testcluster.Node) error
	// Hang blocks every write until Thaw.
	Hang(n *testcluster.Node) error
	Thaw(n *testcluster.Node) error
	// Fill fills the disk until Free.
	Fill(n *testcluster.Node) error
	Free(n *testcluster.Node) error
}

// Damage is a backend that can change the files of a node that does not run.
type Damage interface {
	// FlipBits changes a few bytes of the node's log.
	FlipBits(n *testcluster.Node, rng *rand.Rand) error
}

// Clocks is a backend whose program, a testcluster.FaultBinary, has a wall clock
// that can be set.
type Clocks interface {
	// Clocked reports whether the backend runs that program.
	Clocked() bool
	// Step sets a node's wall clock ahead of the machine's.
	Step(n *testcluster.Node, ahead time.Duration) error
}
