package membership

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// five are three founders and two that entered later.
func five(t *testing.T) *testcluster.Cluster {
	t.Helper()
	c := testcluster.Start(t, 3)
	for i, id := range []string{"n4", "n5"} {
		c.Add(id)
		c.Restart(3 + i)
	}
	c.WaitReady()
	c.WaitVoters(3)
	return c
}

// TestFurtherNodesHaveNoVote: they own partitions like the others, and get a
// vote when one is free, though never that of a node that is only dead.
func TestFurtherNodesHaveNoVote(t *testing.T) {
	c := five(t)
	for _, id := range []string{"n4", "n5"} {
		if k := c.Nodes[0].Status(t).Node(id); k.Voter || k.Partitions == 0 {
			t.Errorf("%+v", k)
		}
	}
	at := (c.Leader() + 1) % 3
	c.Kill(at)
	dead := c.Take(at)
	c.WaitReady()
	c.Nodes[0].Purchase(t, "acme", "k", "5")
	if s := c.Nodes[0].Status(t); !s.Node(dead.ID).Voter || s.Node("n4").Voter || s.Node("n5").Voter {
		t.Errorf("a dead node's vote went to another: %+v", s.Nodes)
	}
	c.Nodes[0].MustVerb(t, "cluster", "remove", dead.ID)
	began := time.Now()
	c.WaitVoters(3)
	t.Logf("the vote was given again after %.1f s", time.Since(began).Seconds())
	if s := c.Nodes[0].Status(t); s.Node("n4").Voter == s.Node("n5").Voter {
		t.Errorf("%+v", s.Nodes)
	}
}

// TestAStrongReadNeedsTheVoters: a leader whose fellow voters are gone may have
// been replaced, however many nodes without a vote still hear it.
func TestAStrongReadNeedsTheVoters(t *testing.T) {
	c := five(t)
	c.Nodes[0].Purchase(t, "acme", "k", "5")
	at := c.Leader()
	leader := c.Nodes[at]
	read := func() int {
		r, err := leader.Do(t.Context(), "GET", "/v1/accounts/acme", nil, testcluster.Strong)
		if err != nil {
			t.Fatal(err)
		}
		return r.Status
	}
	if got := read(); got != 200 {
		t.Fatalf("a strong read of a whole cluster: %d", got)
	}
	var voters []*testcluster.Node
	for i, n := range c.Nodes[:3] {
		if i != at {
			voters = append(voters, n)
		}
	}
	for _, n := range voters {
		n.Signal(t, syscall.SIGSTOP)
	}
	for _, n := range voters {
		waitStopped(t, n)
	}
	// At once: soon the leader notices by itself.
	if got := read(); got != 503 {
		t.Errorf("a strong read without a majority of the voters: %d", got)
	}
	for _, n := range voters {
		n.Signal(t, syscall.SIGCONT)
	}
	c.WaitReady()
}

// TestMoreVotes: --voters 5 gives one to each of five.
func TestMoreVotes(t *testing.T) {
	c := testcluster.New(t, 5)
	for i := range c.Nodes {
		c.Nodes[i].Set("voters", "5")
		c.Restart(i)
	}
	c.WaitReady()
	c.WaitVoters(5)
}

// waitStopped waits until a process that was sent SIGSTOP runs on no processor.
func waitStopped(t *testing.T, n *testcluster.Node) {
	t.Helper()
	testcluster.Eventually(t, patience, n.ID+" stands still", func() error {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.PID()))
		if err != nil {
			t.Skip("no /proc")
		}
		if !strings.Contains(string(b), ") T ") {
			return errors.New("it runs")
		}
		return nil
	})
}
