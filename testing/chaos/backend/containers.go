package backend

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"quorate/testing/testcluster"
)

// Containers runs nodes in containers of an image that contains only the binary. Nodes
// reach each other over one network, and clients reach them over another, so that an
// isolated node keeps its clients.
type Containers struct {
	id    string
	nodes []*testcluster.Node

	mu    sync.Mutex
	cut   map[*testcluster.Node]bool // guarded by mu
	ended map[*testcluster.Node]bool // by this process; guarded by mu
}

// NewContainers builds the image and starts n nodes. Nothing is pulled.
func NewContainers(tb testing.TB, n int) (*Containers, error) {
	if err := run("docker", "info"); err != nil {
		return nil, fmt.Errorf("containers: no engine: %w", ErrCannot)
	}
	b := &Containers{id: fmt.Sprintf("quorate-chaos-%d", os.Getpid()), cut: map[*testcluster.Node]bool{}, ended: map[*testcluster.Node]bool{}}
	if err := b.build(tb); err != nil {
		return nil, err
	}
	subnet := fmt.Sprintf("10.214.%d", os.Getpid()%250)
	for _, args := range [][]string{{"--subnet", subnet + ".0/24", b.peers()}, {b.clients()}} {
		if err := run(append([]string{"docker", "network", "create"}, args...)...); err != nil {
			return nil, err
		}
		name := args[len(args)-1]
		tb.Cleanup(func() { cleanup(tb, "docker", "network", "rm", name) })
	}
	var join []string
	for i := range n {
		join = append(join, fmt.Sprintf("%s.%d:7081", subnet, 11+i))
	}
	for i := range n {
		host := fmt.Sprintf("%s.%d", subnet, 11+i)
		api := testcluster.FreeAddr(tb)
		node := &testcluster.Node{ID: fmt.Sprint("n", i+1), URL: "http://" + api, HTTP: api, Peer: host + ":9081", Gossip: host + ":7081"}
		b.nodes = append(b.nodes, node)
		_, port, err := net.SplitHostPort(api)
		if err != nil {
			return nil, err
		}
		err = run("docker", "create", "--name", b.name(node), "--hostname", node.ID, "--network", b.clients(), "-p", "127.0.0.1:"+port+":8081", b.id,
			"serve", "--insecure", "--node-id", node.ID, "--data-dir", "/data", "--bootstrap-expect", fmt.Sprint(n), "--join", strings.Join(join, ","),
			"--http-addr", "0.0.0.0:8081", "--peer-addr", "0.0.0.0:9081", "--gossip-addr", "0.0.0.0:7081",
			"--advertise-http", host+":8081", "--advertise-peer", node.Peer, "--advertise-gossip", node.Gossip)
		if err != nil {
			return nil, err
		}
		tb.Cleanup(func() { cleanup(tb, "docker", "rm", "--force", "--volumes", b.name(node)) })
		if err := b.connect(node); err != nil {
			return nil, err
		}
		if err := b.Start(node); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// build makes the image of a static binary.
func (b *Containers) build(tb testing.TB) error {
	root, err := output("go", "env", "GOMOD")
	if err != nil {
		return err
	}
	dir := tb.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bin/rootfs/data"), 0o755); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin/rootfs/quorate"), "quorate/cmd/quorate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	if err := run("docker", "build", "--pull=false", "--network=none", "-t", b.id, "-f", filepath.Join(filepath.Dir(root), "Dockerfile"), dir); err != nil {
		return err
	}
	tb.Cleanup(func() { cleanup(tb, "docker", "rmi", "--force", b.id) })
	return nil
}

func (b *Containers) peers() string                   { return b.id + "-peers" }
func (b *Containers) clients() string                 { return b.id + "-clients" }
func (b *Containers) name(n *testcluster.Node) string { return b.id + "-" + n.ID }

func (b *Containers) connect(n *testcluster.Node) error {
	host, _, err := net.SplitHostPort(n.Peer)
	if err != nil {
		return err
	}
	return run("docker", "network", "connect", "--ip", host, b.peers(), b.name(n))
}

// Name is Backend.
func (b *Containers) Name() string { return "containers" }

// Nodes is Backend.
func (b *Containers) Nodes() []*testcluster.Node { return b.nodes }

// Start is Backend.
func (b *Containers) Start(n *testcluster.Node) error {
	b.end(n, false)
	return run("docker", "start", b.name(n))
}

// Kill is Backend.
func (b *Containers) Kill(n *testcluster.Node) error {
	if b.Ended(n) {
		return nil
	}
	b.end(n, true)
	return run("docker", "kill", b.name(n))
}

// Stop is Backend.
func (b *Containers) Stop(n *testcluster.Node) error {
	b.end(n, true)
	if err := run("docker", "stop", "--time", "20", b.name(n)); err != nil {
		return err
	}
	code, err := output("docker", "inspect", "--format", "{{.State.ExitCode}}", b.name(n))
	if err == nil && code != "0" {
		err = fmt.Errorf("%s: exit code %s", n.ID, code)
	}
	return err
}

// Freeze is Backend.
func (b *Containers) Freeze(n *testcluster.Node) error { return run("docker", "pause", b.name(n)) }

// Resume is Backend.
func (b *Containers) Resume(n *testcluster.Node) error { return run("docker", "unpause", b.name(n)) }

// Starve is Backend.
func (b *Containers) Starve(n *testcluster.Node, yes bool) error {
	cpus := fmt.Sprint(runtime.NumCPU())
	if yes {
		cpus = "0.1"
	}
	return run("docker", "update", "--cpus", cpus, b.name(n))
}

// Ended is Backend.
func (b *Containers) Ended(n *testcluster.Node) bool {
	running, err := output("docker", "inspect", "--format", "{{.State.Running}}", b.name(n))
	b.mu.Lock()
	defer b.mu.Unlock()
	return err == nil && running == "false" && !b.ended[n]
}

// end records whether this process ended a node.
func (b *Containers) end(n *testcluster.Node, yes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended[n] = yes
}

// Log is Backend.
func (b *Containers) Log(n *testcluster.Node, lines int) string {
	out, err := output("docker", "logs", "--tail", fmt.Sprint(lines), b.name(n))
	if err != nil {
		return err.Error()
	}
	return out
}

// Directed is Network.
func (b *Containers) Directed() bool { return false }

// Isolate is Network: it disconnects the node from the nodes' network.
func (b *Containers) Isolate(n *testcluster.Node) error {
	b.mu.Lock()
	b.cut[n] = true
	b.mu.Unlock()
	return run("docker", "network", "disconnect", b.peers(), b.name(n))
}

// Mend is Network: nodes get their old addresses back.
func (b *Containers) Mend() (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := range b.cut {
		delete(b.cut, n)
		err = errors.Join(err, b.connect(n))
	}
	return err
}

// Cut is Network.
func (b *Containers) Cut(_, _ *testcluster.Node) error { return ErrCannot }

// Lose is Network.
func (b *Containers) Lose(*testcluster.Node, int) error { return ErrCannot }
