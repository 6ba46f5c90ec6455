package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"quorate/api/client"
)

// devNode is one process of the cluster.
type devNode struct {
	planned
	expect int // its --bootstrap-expect
	cmd    *exec.Cmd
	log    *logPrefix
	dead   bool // its end was taken from devCluster.ended
}

func (n *devNode) pid() int { return n.cmd.Process.Pid }

// ended is the end of a node's process.
type ended struct {
	node *devNode
	why  string
}

// devCluster starts, watches and stops the processes. One goroutine a process
// waits for it and tells ended; all else happens on the caller's.
type devCluster struct {
	nodes []*devNode
	ended chan ended // as large as nodes, so that no waiter is left behind
}

func newDevCluster(plan []planned, stderr io.Writer) *devCluster {
	c := &devCluster{ended: make(chan ended, len(plan))}
	out := &lockedWriter{w: stderr}
	for i, p := range plan {
		n := &devNode{planned: p, log: &logPrefix{to: out, prefix: p.ID + " | "}}
		if i < founders(len(plan)) {
			n.expect = founders(len(plan))
		}
		c.nodes = append(c.nodes, n)
	}
	return c
}

// start starts the cluster and returns when all of it serves. The nodes it
// started before an error are left to stop.
func (c *devCluster) start(ctx context.Context, logLevel string) error {
	// A cluster is founded by nodes that see only each other. One that was there
	// before starts whole: those who joined may be needed for its majority.
	first := len(c.nodes)
	if _, err := os.Stat(c.nodes[0].DataDir); errors.Is(err, fs.ErrNotExist) {
		first = founders(len(c.nodes))
	}
	for _, part := range [][]*devNode{c.nodes[:first], c.nodes[first:]} {
		if err := c.launch(part, logLevel); err != nil {
			return err
		}
		if err := c.waitReady(ctx, c.nodes[:first]); err != nil {
			return err
		}
		first = len(c.nodes)
	}
	return nil
}

// launch starts processes.
func (c *devCluster) launch(nodes []*devNode, logLevel string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	var gossip []string
	for _, n := range c.nodes {
		gossip = append(gossip, n.Gossip)
	}
	for _, n := range nodes {
		n.cmd = exec.Command(exe, "serve",
			"--node-id", n.ID, "--data-dir", n.DataDir,
			"--http-addr", n.HTTP, "--peer-addr", n.Peer, "--gossip-addr", n.Gossip,
			"--join", strings.Join(gossip, ","),
			"--bootstrap-expect", fmt.Sprint(n.expect),
			"--log-level", logLevel)
		n.cmd.Env = withoutSettings(os.Environ())
		n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
		n.cmd.SysProcAttr = bound()
		if err := n.cmd.Start(); err != nil {
			return fmt.Errorf("start node %s: %w", n.ID, err)
		}
		go func() {
			err := n.cmd.Wait()
			why := "exit status 0"
			if err != nil {
				why = err.Error()
			}
			c.ended <- ended{n, why}
		}()
	}
	return nil
}

// founders is how many of n nodes found the cluster; the others join it.
func founders(n int) int {
	if n < 3 {
		return 1
	}
	return 3
}

// withoutSettings drops what would change a node's settings behind our back.
func withoutSettings(environ []string) []string {
	var kept []string
	for _, kv := range environ {
		if !strings.HasPrefix(kv, envPrefix) {
			kept = append(kept, kv)
		}
	}
	return kept
}

// waitReady returns when the given nodes serve and are a whole cluster. A node
// that dies before is an error.
func (c *devCluster) waitReady(ctx context.Context, nodes []*devNode) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- pollReady(ctx, nodes) }()
	select {
	case e := <-c.ended:
		e.node.dead = true
		cancel()
		<-ready
		return fmt.Errorf("node %s ended before the cluster was ready: %s: %s", e.node.ID, e.why, e.node.log.lastLine())
	case err := <-ready:
		return err
	}
}

func pollReady(ctx context.Context, nodes []*devNode) error {
	for _, n := range nodes {
		api, err := client.New(client.Config{Endpoints: []string{"http://" + n.HTTP}, Timeout: time.Second})
		if err != nil {
			return fmt.Errorf("reach node %s: %w", n.ID, err)
		}
		for {
			if err = serves(ctx, api, len(nodes)); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("the cluster was not ready within %v: node %s: %w", readyTime, n.ID, err)
			case <-time.After(pollEvery):
			}
		}
	}
	return nil
}

var errNotWhole = errors.New("the cluster is not whole yet")

// serves returns nil once the node is ready and knows a leader and a map in
// which each of want nodes owns something.
func serves(ctx context.Context, api *client.Client, want int) error {
	if _, err := api.Ready(ctx); err != nil {
		return err
	}
	status, err := api.Cluster(ctx)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		return nil // its data has tokens, and to be ready is all that it tells us
	}
	if err != nil {
		return err
	}
	owners := 0
	for _, n := range status.Nodes {
		if n.Partitions > 0 {
			owners++
		}
	}
	if status.Leader == nil || status.Epoch < 1 || owners < want {
		return fmt.Errorf("%w: leader known: %t, epoch %d, owners %d of %d",
			errNotWhole, status.Leader != nil, status.Epoch, owners, want)
	}
	return nil
}

// watch returns when ctx ends, or with an error when no node is left. Nodes
// may be killed on purpose, so one that ends is only told of.
func (c *devCluster) watch(ctx context.Context, stderr io.Writer) error {
	for left := len(c.nodes); left > 0; left-- {
		select {
		case <-ctx.Done():
			return nil
		case e := <-c.ended:
			e.node.dead = true
			fmt.Fprintf(stderr, "quorate: node %s ended: %s; %d of %d are left\n", e.node.ID, e.why, left-1, len(c.nodes))
		}
	}
	return errors.New("no node is left")
}

// stop asks all living nodes to end and waits for them; who does not follow,
// or another Ctrl-C, is killed.
func (c *devCluster) stop() {
	again, forget := untilSignal()
	defer forget()
	alive := 0
	for _, n := range c.nodes {
		if n.cmd != nil && n.cmd.Process != nil && !n.dead {
			alive++
			n.cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	timeout, impatient := time.After(stopTime), again.Done()
	for alive > 0 {
		select {
		case e := <-c.ended:
			e.node.dead = true
			alive--
			continue
		case <-impatient:
			impatient = nil
		case <-timeout:
		}
		for _, n := range c.nodes {
			if n.cmd != nil && n.cmd.Process != nil && !n.dead {
				n.cmd.Process.Kill()
			}
		}
	}
}
