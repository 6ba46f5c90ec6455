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

// devNode is a process of the cluster.
type devNode struct {
	planned
	expect int // its --bootstrap-expect
	cmd    *exec.Cmd
	log    *logPrefix
	dead   bool // received from devCluster.ended
}

func (n *devNode) pid() int { return n.cmd.Process.Pid }

// ended reports that a node's process has exited.
type ended struct {
	node *devNode
	why  string
}

// devCluster starts, watches and stops the processes. One goroutine per process waits
// for it and sends on ended. The methods are not safe for concurrent use.
type devCluster struct {
	nodes []*devNode
	ended chan ended // with room for all nodes, so that no goroutine blocks
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

// start starts the cluster and returns when all nodes serve. After an error the caller
// must call stop for the nodes that were started.
func (c *devCluster) start(ctx context.Context, logLevel string) error {
	// The founders of a new cluster must see only each other. The nodes of an existing one
	// start together: those that joined later may be needed for its majority.
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

// launch starts the processes of the nodes.
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

// founders returns how many of n nodes form the cluster; the others join it.
func founders(n int) int {
	if n < 3 {
		return 1
	}
	return 3
}

// withoutSettings removes the variables that would override the settings of a node.
func withoutSettings(environ []string) []string {
	var kept []string
	for _, kv := range environ {
		if !strings.HasPrefix(kv, envPrefix) {
			kept = append(kept, kv)
		}
	}
	return kept
}

// waitReady returns when the given nodes serve as one complete cluster. It returns an
// error if a node exits before that.
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

// serves returns nil if the node is ready and knows a leader and a map in which each of
// want nodes owns partitions.
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

// watch returns when ctx ends, or with an error when no node is left. It reports a node
// that exits and continues, because users kill nodes to see what happens.
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

// stop terminates all running nodes and waits for them. It kills those that do not exit
// in time, and all on another Ctrl-C.
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
