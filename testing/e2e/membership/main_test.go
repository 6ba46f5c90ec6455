// Package membership has real processes found clusters, enter them, be kept out
// of them and come back.
package membership

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m)) }

// set changes a flag of a node that does not run; an empty value takes it away.
func set(n *testcluster.Node, flag, value string) {
	for i, a := range n.Args {
		if a == "--"+flag {
			n.Args = append(n.Args[:i:i], n.Args[i+2:]...)
			break
		}
	}
	if value != "" {
		n.Args = append(n.Args, "--"+flag, value)
	}
}

func gossip(nodes ...*testcluster.Node) string {
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Gossip)
	}
	return strings.Join(addrs, ",")
}

// waitLog waits until a node's log says something.
func waitLog(t *testing.T, n *testcluster.Node, text string) {
	t.Helper()
	testcluster.Eventually(t, patience, n.ID+" says "+text, func() error {
		if !strings.Contains(n.Log(t), text) {
			return fmt.Errorf("not yet")
		}
		return nil
	})
}

// waitVoters waits until every running node counts so many nodes with a vote.
func waitVoters(t *testing.T, c *testcluster.Cluster, want int) {
	t.Helper()
	testcluster.Eventually(t, patience, "the votes are given", func() error {
		for _, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			voters := 0
			for _, k := range n.Status(t).Nodes {
				if k.Voter {
					voters++
				}
			}
			if voters != want {
				return fmt.Errorf("%s counts %d nodes with a vote, want %d", n.ID, voters, want)
			}
		}
		return nil
	})
}

// wantOne wants all nodes to be in one cluster of that many.
func wantOne(t *testing.T, c *testcluster.Cluster, size int) {
	t.Helper()
	id := c.Nodes[0].Status(t).ClusterID
	// Who was turned away is listed until gossip has missed it for a while.
	testcluster.Eventually(t, patience, "all list the same nodes", func() error {
		for _, n := range c.Nodes {
			if s := n.Status(t); s.ClusterID != id || id == "" || len(s.Nodes) != size {
				return fmt.Errorf("%s is in cluster %q with %d nodes, want %q with %d", n.ID, s.ClusterID, len(s.Nodes), id, size)
			}
		}
		return nil
	})
}
