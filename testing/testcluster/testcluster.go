// Package testcluster runs clusters of real quorate processes on loopback for
// tests: it builds the binary once, picks ports, starts, kills and restarts
// nodes, and waits for conditions, never for a time. What it knows of quorate
// is its command line and its HTTP API, nothing from inside.
package testcluster

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ReadyWithin is how long a cluster may take to be ready.
const ReadyWithin = 30 * time.Second

// StopWithin is how long a node may take to leave.
const StopWithin = 20 * time.Second

// Partitions is how many parts the owners of a cluster share.
const Partitions = 4096

// Cluster is a cluster of processes. Its methods are for one goroutine; those
// of its nodes that only talk HTTP may overlap.
type Cluster struct {
	Nodes []*Node // those that take part; a test may take some out and put them back

	tb  testing.TB
	dir string
	all []*Node // that there ever were
}

// Start starts n nodes and waits until they are ready. When tb ends, what
// still runs is killed, and if tb failed the end of each node's log is printed.
func Start(tb testing.TB, n int) *Cluster {
	tb.Helper()
	c := New(tb, n)
	for i := range c.Nodes {
		c.Restart(i)
	}
	c.WaitReady()
	return c
}

// New lays out n nodes and starts none.
func New(tb testing.TB, n int) *Cluster {
	tb.Helper()
	return NewAt(tb, make([]Place, n))
}

// Place is where a node lives.
type Place struct {
	Host    string   // its own address, so that it may take any port; empty: free ports of loopback
	DataDir string   // empty: one below the test's directory
	Through []string // a command that starts the node, given as its last arguments
}

// NewAt is New with a place for each node.
func NewAt(tb testing.TB, places []Place) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb, dir: tb.TempDir()}
	for i, p := range places {
		c.Nodes = append(c.Nodes, c.place("n"+strconv.Itoa(i+1), p))
	}
	for i, node := range c.Nodes {
		node.Args = c.args(node, places[i], len(places))
	}
	tb.Cleanup(c.close)
	return c
}

// Add lays out one more node, which joins those that take part, and does not
// start it.
func (c *Cluster) Add(id string) *Node { return c.AddAt(id, Place{}) }

// AddAt is Add with a place.
func (c *Cluster) AddAt(id string, p Place) *Node {
	n := c.place(id, p)
	c.Nodes = append(c.Nodes, n)
	n.Args = c.args(n, p, 0)
	return n
}

// place gives a node its addresses and a directory.
func (c *Cluster) place(id string, p Place) *Node {
	n := &Node{ID: id, DataDir: filepath.Join(c.dir, id), Through: p.Through, logFile: filepath.Join(c.dir, id+".log")}
	if p.DataDir != "" {
		n.DataDir = p.DataDir
	}
	c.all = append(c.all, n)
	if p.Host == "" {
		c.Move(n)
		return n
	}
	n.HTTP, n.Peer, n.Gossip = p.Host+":8081", p.Host+":9081", p.Host+":7081"
	n.URL = "http://" + n.HTTP
	return n
}

// Move gives a node that does not run other addresses, and the flags of all with
// them; those that run keep what they were started with.
func (c *Cluster) Move(n *Node) {
	c.tb.Helper()
	for _, addr := range []*string{&n.HTTP, &n.Peer, &n.Gossip} {
		was := *addr
		*addr = FreeAddr(c.tb)
		for _, other := range c.all {
			for i, arg := range other.Args { // --join has several
				if was != "" {
					other.Args[i] = strings.ReplaceAll(arg, was, *addr)
				}
			}
		}
	}
	n.URL = "http://" + n.HTTP
}

// args are a node's flags; expect is how many found the cluster, 0 where it is
// there.
func (c *Cluster) args(node *Node, p Place, expect int) []string {
	args := []string{
		"serve", "--node-id", node.ID, "--data-dir", node.DataDir,
		"--http-addr", node.HTTP, "--peer-addr", node.Peer, "--gossip-addr", node.Gossip,
		"--bootstrap-expect", strconv.Itoa(expect),
	}
	var others []string
	for _, other := range c.Nodes {
		if other != node {
			others = append(others, other.Gossip)
		}
	}
	if len(others) > 0 {
		args = append(args, "--join", strings.Join(others, ","))
	}
	if p.Host != "" { // beyond loopback
		args = append(args, "--insecure")
	}
	return args
}

// Kill ends a node at once (SIGKILL).
func (c *Cluster) Kill(i int) {
	c.tb.Helper()
	if err := c.Nodes[i].Kill(); err != nil {
		c.tb.Fatalf("kill %s: %v", c.Nodes[i].ID, err)
	}
}

// Stop asks a node to leave (SIGTERM), waits for it and returns its exit code.
func (c *Cluster) Stop(i int) int {
	c.tb.Helper()
	code, err := c.Nodes[i].Stop(StopWithin)
	if err != nil {
		c.tb.Fatalf("stop %s: %v", c.Nodes[i].ID, err)
	}
	return code
}

// Restart starts a node that does not run, with the flags it always has.
func (c *Cluster) Restart(i int) {
	c.tb.Helper()
	c.StartNode(c.Nodes[i])
}

// StartNode starts a node that does not run, whether it takes part or not.
func (c *Cluster) StartNode(n *Node) {
	c.tb.Helper()
	program := n.Program
	if program == "" {
		program = Binary(c.tb)
	}
	if err := n.Start(program); err != nil {
		c.tb.Fatalf("start %s: %v", n.ID, err)
	}
}

// WaitReady waits until every running node is ready and all of them see the
// same leader, term and ownership, in which each of them has a part and those
// that do not run have none.
func (c *Cluster) WaitReady() {
	c.tb.Helper()
	Eventually(c.tb, ReadyWithin, "the cluster is ready", c.ready)
}

func (c *Cluster) ready() error {
	var running []*Node
	for _, n := range c.Nodes {
		if n.Running() {
			running = append(running, n)
		} else if n.Exited() {
			return Permanent(fmt.Errorf("%s has exited by itself:\n%s", n.ID, n.LogTail(20)))
		}
	}
	return Agree(running)
}

// Agree reports why nodes, which are all that run, do not make a cluster that
// is whole: each of them is ready, and they see the same leader, term and
// ownership, in which each of them has a part and no other node has.
func Agree(nodes []*Node) error {
	running := map[string]bool{}
	for _, n := range nodes {
		running[n.ID] = true
	}
	var first *Status
	for _, n := range nodes {
		s, err := n.status()
		if err != nil {
			return err
		}
		if err := s.complete(running); err != nil {
			return fmt.Errorf("%s says: %w", n.ID, err)
		}
		if first == nil {
			first = s
		}
		if *s.Leader != *first.Leader || s.Epoch != first.Epoch || s.Term != first.Term {
			return fmt.Errorf("%s is at epoch %d, term %d, leader %s; another at %d, %d, %s",
				n.ID, s.Epoch, s.Term, *s.Leader, first.Epoch, first.Term, *first.Leader)
		}
	}
	return nil
}

// complete says what is missing of a cluster in which all that run take part.
func (s *Status) complete(running map[string]bool) error {
	switch {
	case s.Leader == nil:
		return fmt.Errorf("no leader")
	case !running[*s.Leader]:
		return fmt.Errorf("the leader is %s, which does not run", *s.Leader)
	case s.Epoch == 0:
		return fmt.Errorf("epoch 0")
	case s.ChangingGrantors:
		return fmt.Errorf("the nodes that grant leases change")
	case s.Unowned > 0 || s.Moving > 0:
		return fmt.Errorf("%d partitions without an owner, %d moving", s.Unowned, s.Moving)
	}
	owned, owners := 0, 0
	for _, n := range s.Nodes {
		if !running[n.ID] {
			continue
		}
		if n.State != "alive" || n.Partitions == 0 || n.Leases < n.Partitions || n.Incomplete > 0 {
			return fmt.Errorf("%s is %s, owns %d partitions, holds leases on %d and lacks copies of %d", n.ID, n.State, n.Partitions, n.Leases, n.Incomplete)
		}
		owned += n.Partitions
		owners++
	}
	if owners != len(running) || owned != Partitions {
		return fmt.Errorf("%d of %d nodes own %d partitions", owners, len(running), owned)
	}
	return nil
}

// Leader returns the position of the leader among the nodes.
func (c *Cluster) Leader() int {
	c.tb.Helper()
	at := -1
	Eventually(c.tb, ReadyWithin, "a node knows the leader", func() error {
		for _, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			s, err := n.status()
			if err != nil || s.Leader == nil {
				continue
			}
			for i, other := range c.Nodes {
				if other.ID == *s.Leader && other.Running() {
					at = i
					return nil
				}
			}
		}
		return fmt.Errorf("no running node names a running leader")
	})
	return at
}

func (c *Cluster) close() {
	for _, n := range c.all {
		if err := n.Kill(); err != nil {
			c.tb.Errorf("kill %s: %v", n.ID, err)
		}
	}
	if c.tb.Failed() {
		for _, n := range c.all {
			c.tb.Logf("the end of %s's log:\n%s", n.ID, n.LogTail(60))
		}
	}
}
