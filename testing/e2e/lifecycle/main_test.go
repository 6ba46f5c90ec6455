// Package lifecycle takes clusters of real processes through what operators do
// with them: backups, restarts, upgrades, replaced and lost machines. The commands
// are those that OPERATIONS.md names.
package lifecycle

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

var (
	many = flag.Int("accounts", 20_000, "how many accounts a backup holds")
	long = flag.Bool("long", false, "wait for a restore to be given up")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(testcluster.Main(m))
}

// restored is the answer to a restore.
type restored struct {
	Restored     bool   `json:"restored"`
	Index        uint64 `json:"index"`
	ReachesIndex uint64 `json:"reaches_index"`
	ClusterID    string `json:"cluster_id"`
	Accounts     int    `json:"accounts"`
	Keys         int    `json:"keys"`
	Content      string `json:"content"`
}

func restore(t *testing.T, n *testcluster.Node, args ...string) (r restored) {
	t.Helper()
	out := n.MustVerb(t, append([]string{"restore"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return r
}

// content backs a node up and returns what the backup is of.
func content(t *testing.T, n *testcluster.Node) restored {
	t.Helper()
	file := filepath.Join(t.TempDir(), "now.backup")
	n.MustVerb(t, "backup", file, "--stale")
	return restore(t, n, file, "--dry-run")
}

// wantEqual wants all running nodes to hold the same.
func wantEqual(t *testing.T, c *testcluster.Cluster) restored {
	t.Helper()
	var first restored
	testcluster.Eventually(t, 30*time.Second, "all nodes hold the same", func() error {
		first = restored{}
		for _, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			got := content(t, n)
			if first.Content == "" {
				first = got
			}
			if got.Content != first.Content {
				return fmt.Errorf("%s has content %s at index %d, another %s at %d", n.ID, got.Content, got.ReachesIndex, first.Content, first.ReachesIndex)
			}
		}
		return nil
	})
	return first
}
