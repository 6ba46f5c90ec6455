package testcluster

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// verbWithin is how long a client verb may take: a large backup takes minutes.
const verbWithin = 10 * time.Minute

// Verb runs a client verb of the command line against the node.
func (n *Node) Verb(tb testing.TB, args ...string) Output {
	tb.Helper()
	return Run(tb, verbWithin, slices.Concat(args, []string{"--endpoints", n.URL})...)
}

// MustVerb is Verb with JSON output, which it returns; an exit code other than 0
// fails the test.
func (n *Node) MustVerb(tb testing.TB, args ...string) string {
	tb.Helper()
	out := n.Verb(tb, slices.Concat(args, []string{"-o", "json"})...)
	if out.Code != 0 {
		tb.Fatalf("quorate %v: exit code %d: %s", args, out.Code, out.Stderr)
	}
	return out.Stdout
}

// Set changes a flag of a node that does not run; an empty value removes it.
func (n *Node) Set(flag, value string) {
	if i := slices.Index(n.Args, "--"+flag); i >= 0 {
		n.Args = append(n.Args[:i:i], n.Args[i+2:]...)
	}
	if value != "" {
		n.Args = append(n.Args, "--"+flag, value)
	}
}

// Wipe removes the data directory of a node that does not run.
func (n *Node) Wipe(tb testing.TB) {
	tb.Helper()
	if err := os.RemoveAll(n.DataDir); err != nil {
		tb.Fatal(err)
	}
}

// WaitEnd waits until the node's process has ended by itself.
func (n *Node) WaitEnd(tb testing.TB) {
	tb.Helper()
	Eventually(tb, ReadyWithin, n.ID+" ends by itself", func() error {
		if n.Running() {
			return errors.New("it runs")
		}
		return nil
	})
}

// WaitLog waits until the node has logged a text.
func (n *Node) WaitLog(tb testing.TB, text string) {
	tb.Helper()
	Eventually(tb, ReadyWithin, n.ID+" logs "+text, func() error {
		if !strings.Contains(n.Log(tb), text) {
			return errors.New("not yet")
		}
		return nil
	})
}

// GossipAddrs returns the value of --join for some nodes.
func GossipAddrs(nodes ...*Node) string {
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Gossip)
	}
	return strings.Join(addrs, ",")
}

// Take removes a node from those that take part, and returns it. Its process goes on
// if it runs.
func (c *Cluster) Take(i int) *Node {
	n := c.Nodes[i]
	c.Nodes = append(c.Nodes[:i:i], c.Nodes[i+1:]...)
	return n
}

// WaitVoters waits until every running node lists so many voters.
func (c *Cluster) WaitVoters(want int) {
	c.tb.Helper()
	Eventually(c.tb, time.Minute, fmt.Sprintf("%d nodes vote", want), func() error {
		for _, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			s, err := n.status()
			if err != nil {
				return err
			}
			voters := 0
			for _, k := range s.Nodes {
				if k.Voter {
					voters++
				}
			}
			if voters != want {
				return fmt.Errorf("%s lists %d", n.ID, voters)
			}
		}
		return nil
	})
}

// WaitApplied waits until every node has applied a log index.
func (c *Cluster) WaitApplied(tb testing.TB, index uint64) {
	tb.Helper()
	for _, n := range c.Nodes {
		if r := n.MustDo(tb, "GET", "/v1/cluster", nil, MinIndex(index)); r.Status != 200 {
			tb.Fatalf("%s does not reach index %d: %s", n.ID, index, r)
		}
	}
}

// PurchaseEach buys $5 in bulk for new accounts named by the prefix and a number, with
// the key "first", and waits until every node has applied that.
func (c *Cluster) PurchaseEach(prefix string, count int) (accounts []string) {
	c.tb.Helper()
	const batch = 1000
	var index uint64
	var entries []Entry
	for i := range count {
		account := fmt.Sprintf("%s-%d", prefix, i)
		accounts = append(accounts, account)
		entries = append(entries, Entry{Account: account, Key: "first", Type: "purchase", Amount: "5"})
		if len(entries) == batch || i == count-1 {
			r := c.Nodes[0].MustDo(c.tb, "POST", "/v1/ledger", map[string]any{"entries": entries})
			if r.Status != 200 {
				c.tb.Fatal(r)
			}
			entries, index = nil, r.Index()
		}
	}
	c.WaitApplied(c.tb, index)
	return accounts
}

// Strong asks for a linearizable answer.
func Strong(r *Request) {
	q := r.URL.Query()
	q.Set("consistency", "strong")
	r.URL.RawQuery = q.Encode()
}
