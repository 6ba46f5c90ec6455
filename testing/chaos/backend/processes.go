package backend

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"quorate/testing/testcluster"
)

// Processes are nodes on loopback.
type Processes struct {
	*testcluster.Cluster
	name    string
	clocks  string
	starved map[*testcluster.Node]func()
}

// Program is what nodes run.
type Program struct {
	Path string   // empty: the one that is tested
	Env  []string // beside the environment
	// Clocks is a directory with a file for each node, which says how far ahead its
	// wall clock is; empty: the machine's clock is.
	Clocks string
}

// NewProcesses starts n nodes. What still runs when tb ends is killed.
func NewProcesses(tb testing.TB, n int, program Program) *Processes {
	return processes(tb, "processes", testcluster.New(tb, n), program)
}

func processes(tb testing.TB, name string, c *testcluster.Cluster, program Program) *Processes {
	tb.Helper()
	for i := range c.Nodes {
		c.Nodes[i].Program, c.Nodes[i].Env = program.Path, program.Env
		if program.Clocks != "" {
			c.Nodes[i].Env = append(slices.Clone(program.Env), "QUORATE_AHEAD_FILE="+filepath.Join(program.Clocks, c.Nodes[i].ID))
		}
		c.Restart(i)
	}
	p := &Processes{Cluster: c, name: name, clocks: program.Clocks, starved: map[*testcluster.Node]func(){}}
	tb.Cleanup(func() {
		for _, stop := range p.starved {
			stop()
		}
	})
	return p
}

// Name is Backend.
func (p *Processes) Name() string { return p.name }

// Nodes is Backend.
func (p *Processes) Nodes() []*testcluster.Node { return p.Cluster.Nodes[:3:3] }

func (p *Processes) at(n *testcluster.Node) int { return slices.Index(p.Cluster.Nodes, n) }

// Start is Backend.
func (p *Processes) Start(n *testcluster.Node) error {
	p.StartNode(n)
	return nil
}

// Kill is Backend.
func (p *Processes) Kill(n *testcluster.Node) error {
	p.Cluster.Kill(p.at(n))
	return nil
}

// Stop is Backend.
func (p *Processes) Stop(n *testcluster.Node) error {
	if code := p.Cluster.Stop(p.at(n)); code != 0 {
		return fmt.Errorf("%s: exit code %d", n.ID, code)
	}
	return nil
}

// Freeze is Backend.
func (p *Processes) Freeze(n *testcluster.Node) error { return signal(n, syscall.SIGSTOP) }

// Resume is Backend.
func (p *Processes) Resume(n *testcluster.Node) error { return signal(n, syscall.SIGCONT) }

// Ended is Backend.
func (p *Processes) Ended(n *testcluster.Node) bool { return n.Exited() }

// Log is Backend.
func (p *Processes) Log(n *testcluster.Node, lines int) string { return n.LogTail(lines) }

// Wipe is Members.
func (p *Processes) Wipe(n *testcluster.Node) error {
	entries, err := os.ReadDir(n.DataDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(n.DataDir + "/" + e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// Starve is Backend: the node runs 10 ms of each 100, as a quota of the kernel's
// scheduler would have it, which not every machine lets be set.
func (p *Processes) Starve(n *testcluster.Node, yes bool) error {
	if !yes {
		if stop := p.starved[n]; stop != nil {
			stop()
			delete(p.starved, n)
		}
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			_ = signal(n, syscall.SIGSTOP) // it may be gone
			time.Sleep(90 * time.Millisecond)
			_ = signal(n, syscall.SIGCONT)
			time.Sleep(10 * time.Millisecond)
		}
	})
	p.starved[n] = func() { cancel(); wg.Wait() }
	return nil
}

func signal(n *testcluster.Node, s syscall.Signal) error {
	pid := n.PID()
	if pid == 0 {
		return fmt.Errorf("%s does not run", n.ID)
	}
	return syscall.Kill(pid, s)
}

// FlipBits is Damage: some bytes in each tenth of the file, so that some are in use.
func (p *Processes) FlipBits(n *testcluster.Node, rng *rand.Rand) error {
	f, err := os.OpenFile(filepath.Join(n.DataDir, "raft.db"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() // Sync has said what there was to say
	info, err := f.Stat()
	if err != nil {
		return err
	}
	part := info.Size() / 10
	for i := range int64(10) {
		at, b := i*part+rng.Int64N(part), make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			return err
		}
		b[0] ^= 1 << rng.IntN(8)
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// Clocked is Clocks.
func (p *Processes) Clocked() bool { return p.clocks != "" }

// Step is Clocks.
func (p *Processes) Step(n *testcluster.Node, ahead time.Duration) error {
	path := filepath.Join(p.clocks, n.ID)
	if err := os.WriteFile(path+".new", []byte(ahead.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
