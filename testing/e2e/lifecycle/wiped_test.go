package lifecycle

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// TestWipedDisk: a voter that has lost its disk has forgotten what it has
// acknowledged. It is refused under its old id, and says what to do; that works.
func TestWipedDisk(t *testing.T) {
	c := testcluster.Start(t, 3)
	buy(t, c, "busy", 200)
	i := (c.Leader() + 1) % 3
	wiped := c.Nodes[i]
	c.Kill(i)
	if err := os.RemoveAll(wiped.DataDir); err != nil {
		t.Fatal(err)
	}
	c.StartNode(wiped)
	testcluster.Eventually(t, 30*time.Second, "it is refused", func() error {
		if wiped.Running() {
			return fmt.Errorf("it runs")
		}
		return nil
	})
	want := "quorate cluster remove " + wiped.ID
	if log := wiped.LogTail(20); !strings.Contains(log, want) {
		t.Fatalf("it does not say %q:\n%s", want, log)
	}
	rest := append(append([]*testcluster.Node(nil), c.Nodes[:i]...), c.Nodes[i+1:]...)
	c.Nodes = rest
	c.WaitReady()
	rest[0].Purchase(t, "meanwhile", "k", "5")
	began := time.Now()
	quorate(t, rest[0], "cluster", "remove", wiped.ID)
	c.Add("n4")
	c.Restart(2)
	c.WaitReady()
	t.Logf("replaced in %.1f s", time.Since(began).Seconds())
	wantEqual(t, c)
	c.StartNode(wiped) // again under its old id
	waitExpelled(t, wiped, 1)
	c.WaitReady()
}
