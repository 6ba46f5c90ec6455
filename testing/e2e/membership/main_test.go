// Package membership tests how real processes form clusters, join them, are refused
// by them and come back.
package membership

import (
	"fmt"
	"os"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

const patience = 30 * time.Second

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m)) }

// wantOne waits until all nodes list the same cluster, with so many nodes.
func wantOne(t *testing.T, c *testcluster.Cluster, size int) {
	t.Helper()
	id := c.Nodes[0].Status(t).ClusterID
	// Gossip lists a refused node until it has missed it for a while.
	testcluster.Eventually(t, patience, "all list the same nodes", func() error {
		for _, n := range c.Nodes {
			if s := n.Status(t); s.ClusterID != id || id == "" || len(s.Nodes) != size {
				return fmt.Errorf("%s is in cluster %q with %d nodes, want %q with %d", n.ID, s.ClusterID, len(s.Nodes), id, size)
			}
		}
		return nil
	})
}
