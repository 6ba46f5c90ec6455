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
	name     string
	program  Program
	founders []*testcluster.Node

	mu      sync.Mutex
	cluster *testcluster.Cluster         // whose list of nodes is guarded by mu
	starved map[*testcluster.Node]func() // guarded by mu
}

// Program is the binary of the nodes and its settings.
type Program struct {
	Path   string   // empty: testcluster.Binary
	Args   []string // added to those that every node has
	Faults []string // that a testcluster.FaultBinary injects
	// Clocks is a directory with a file for each node, which holds by how much its
	// wall clock is ahead; it wants a testcluster.FaultBinary. Empty: no clock is set.
	Clocks string
}

// NewProcesses starts n nodes. What still runs when tb ends is killed.
func NewProcesses(tb testing.TB, n int, program Program) (*Processes, error) {
	return processes(tb, "processes", testcluster.New(tb, n), program)
}

func processes(tb testing.TB, name string, c *testcluster.Cluster, program Program) (*Processes, error) {
	tb.Helper()
	if program.Path == "" {
		program.Path = testcluster.Binary(tb)
	}
	p := &Processes{name: name, program: program, founders: slices.Clone(c.Nodes), cluster: c, starved: map[*testcluster.Node]func(){}}
	tb.Cleanup(func() {
		for _, stop := range p.starved {
			stop()
		}
	})
	for _, n := range p.founders {
		p.equip(n)
		if err := p.Start(n); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// equip sets the program, flags and faults of a node.
func (p *Processes) equip(n *testcluster.Node) {
	n.Program = p.program.Path
	n.Args = append(n.Args, p.program.Args...)
	faults := slices.Clone(p.program.Faults)
	if p.Clocked() {
		faults = append(faults, "clock="+filepath.Join(p.program.Clocks, n.ID))
	}
	if len(faults) > 0 {
		n.Env = []string{testcluster.Inject(faults...)}
	}
}

// Name is Backend.
func (p *Processes) Name() string { return p.name }

// Nodes is Backend.
func (p *Processes) Nodes() []*testcluster.Node { return p.founders }

// Start is Backend.
func (p *Processes) Start(n *testcluster.Node) error { return n.Start("") }

// Kill is Backend.
func (p *Processes) Kill(n *testcluster.Node) error { return n.Kill() }

// Stop is Backend.
func (p *Processes) Stop(n *testcluster.Node) error {
	code, err := n.Stop(testcluster.StopWithin)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	if err != nil {
		return fmt.Errorf("stop %s: %w", n.ID, err)
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

// Add is Members.
func (p *Processes) Add(id string) (*testcluster.Node, error) {
	return p.add(id, testcluster.Place{}), nil
}

func (p *Processes) add(id string, at testcluster.Place) *testcluster.Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.cluster.AddAt(id, at)
	p.equip(n)
	return n
}

// Forget is Members.
func (p *Processes) Forget(n *testcluster.Node) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cluster.Nodes = slices.DeleteFunc(p.cluster.Nodes, func(o *testcluster.Node) bool { return o == n })
	return n.Kill()
}

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

// Starve is Backend: the node runs 10 ms of each 100. Not every machine can set a quota
// in the kernel's scheduler.
func (p *Processes) Starve(n *testcluster.Node, yes bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
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
			_ = signal(n, syscall.SIGSTOP) // it may have ended
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

// FlipBits is Damage: one byte in each tenth of the file, so that some are in use.
func (p *Processes) FlipBits(n *testcluster.Node, rng *rand.Rand) error {
	f, err := os.OpenFile(filepath.Join(n.DataDir, "raft.db"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() // Sync has reported write errors
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
func (p *Processes) Clocked() bool { return p.program.Clocks != "" }

// Step is Clocks.
func (p *Processes) Step(n *testcluster.Node, ahead time.Duration) error {
	path := filepath.Join(p.program.Clocks, n.ID)
	if err := os.WriteFile(path+".new", []byte(ahead.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
