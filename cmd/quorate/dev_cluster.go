package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	cmd  *exec.Cmd
	log  *logPrefix
	dead bool // its end was taken from devCluster.ended
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
	for _, p := range plan {
		c.nodes = append(c.nodes, &devNode{planned: p, log: &logPrefix{to: out, prefix: p.ID + " | "}})
	}
	return c
}

// start starts all nodes; those it started before an error are left to stop.
func (c *devCluster) start(logLevel string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	var gossip []string
	for _, n := range c.nodes {
		gossip = append(gossip, n.Gossip)
	}
	for i, n := range c.nodes {
		n.cmd = exec.Command(exe, "serve",
			"--node-id", n.ID, "--data-dir", n.DataDir,
			"--http-addr", n.HTTP, "--peer-addr", n.Peer, "--gossip-addr", n.Gossip,
			"--join", strings.Join(gossip, ","),
			"--bootstrap-expect", fmt.Sprint(founders(i, len(c.nodes))),
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

// founders is the --bootstrap-expect of node i of n: the first three found the
// cluster, or the first alone if there are fewer; the others join it.
func founders(i, n int) int {
	first := 1
	if n >= 3 {
		first = 3
	}
	if i < first {
		return first
	}
	return 0
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

// waitReady returns when every node serves and the cluster is whole. A node
// that dies before is an error.
func (c *devCluster) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- c.pollReady(ctx) }()
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

func (c *devCluster) pollReady(ctx context.Context) error {
	for _, n := range c.nodes {
		api, err := client.New(client.Config{Endpoints: []string{"http://" + n.HTTP}, Timeout: time.Second})
		if err != nil {
			return fmt.Errorf("reach node %s: %w", n.ID, err)
		}
		for {
			if err = serves(ctx, api, len(c.nodes)); err == nil {
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
