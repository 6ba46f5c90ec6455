package backend

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"quorate/testing/faultnet"
	"quorate/testing/testcluster"
)

// Namespaces runs nodes with an address and a disk each: network namespaces on one
// bridge, and file systems on loop devices. It needs root, ip, nft, nsenter and
// mkfs.ext4.
type Namespaces struct {
	*Processes
	tb  testing.TB
	id  int
	dir string // of the disks

	links sync.RWMutex // held for writing while links are added or removed

	homesMu  sync.Mutex
	made     int                            // machines so far; guarded by homesMu
	machines []*machine                     // existing ones; guarded by homesMu
	homes    map[*testcluster.Node]*machine // guarded by homesMu
	late     *faultnet.Net                  // while packets are delayed; guarded by homesMu

	canDelay func() error // computed once
}

// machine is the network namespace and the disk of a node.
type machine struct {
	number int // from 1, never reused
	space  string
	host   string
	disk   mount
}

// prefix starts the names of all namespaces of the harness, which contain the id of the
// process that made them.
const prefix = "qch"

// NewNamespaces starts n nodes.
func NewNamespaces(tb testing.TB, n int, program Program) (*Namespaces, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("namespaces: not root: %w", ErrCannot)
	}
	for _, tool := range []string{"ip", "nft", "nsenter", "mkfs.ext4", "mount", "losetup"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("namespaces: no %s: %w", tool, ErrCannot)
		}
	}
	removeStale(tb)
	b := &Namespaces{tb: tb, id: os.Getpid(), homes: map[*testcluster.Node]*machine{}}
	b.dir = disksOf(b.id)
	b.canDelay = sync.OnceValue(func() error {
		p, err := b.all()[0].late()
		if err != nil {
			return err
		}
		return faultnet.Probe(p)
	})
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		return nil, err
	}
	tb.Cleanup(func() { cleanup(tb, "rm", "-rf", "--one-file-system", b.dir) })
	if err := b.makeSwitch(tb); err != nil {
		return nil, err
	}
	// Cleanups run in reverse order: this one after the processes have ended.
	tb.Cleanup(func() {
		for _, m := range b.all() {
			b.demolish(m)
		}
	})
	var places []testcluster.Place
	for range n {
		m, err := b.build()
		if err != nil {
			return nil, err
		}
		places = append(places, m.place())
	}
	c := testcluster.NewAt(tb, places)
	for i, node := range c.Nodes {
		b.homes[node] = b.machines[i]
	}
	var err error
	b.Processes, err = processes(tb, "namespaces", c, program)
	// Before the processes are killed: a process that waits for a disk cannot end.
	tb.Cleanup(func() {
		for _, m := range b.all() {
			_ = m.disk.thaw() // it may not be frozen
		}
		if err := b.undelay(); err != nil {
			tb.Logf("left behind: %v", err)
		}
	})
	return b, err
}

// disksOf returns the directory of the disks of a process.
func disksOf(pid int) string { return filepath.Join(os.TempDir(), fmt.Sprintf("%s-%d", prefix, pid)) }

// removeStale removes the namespaces and disks of processes that were killed.
func removeStale(tb testing.TB) {
	gone := func(name, pattern string) (is bool) {
		var pid int
		n, _ := fmt.Sscanf(name, pattern, &pid) // 0 if the name has another form
		return n == 1 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	}
	spaces, _ := filepath.Glob("/run/netns/" + prefix + "*") // the pattern is valid
	for _, path := range spaces {
		if name := filepath.Base(path); gone(name, prefix+"n-%d") || gone(name, prefix+"s-%d") {
			cleanup(tb, "ip", "netns", "del", name)
		}
	}
	disks, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"-*")) // likewise
	for _, dir := range disks {
		if !gone(filepath.Base(dir), prefix+"-%d") {
			continue
		}
		mounts, _ := filepath.Glob(filepath.Join(dir, "disk*"))
		for _, m := range mounts {
			if info, err := os.Stat(m); err != nil || !info.IsDir() {
				continue // the image of a disk
			}
			_ = mount{dir: m}.thaw() // it may not be frozen
			_ = run("umount", m)     // it may not be mounted
		}
		cleanup(tb, "rm", "-rf", "--one-file-system", dir)
	}
}

// build makes a machine.
func (b *Namespaces) build() (*machine, error) {
	b.homesMu.Lock()
	b.made++
	i := b.made
	b.homesMu.Unlock()
	m := &machine{
		number: i, space: fmt.Sprintf("%sn-%d-%d", prefix, b.id, i), host: b.host(i),
		disk: mount{dir: filepath.Join(b.dir, fmt.Sprint("disk", i)), image: filepath.Join(b.dir, fmt.Sprint("disk", i, ".ext4"))},
	}
	b.links.Lock()
	defer b.links.Unlock()
	err := b.space(m)
	if err == nil {
		err = m.disk.make()
	}
	if err != nil {
		b.takeDown(m)
		return nil, err
	}
	b.homesMu.Lock()
	defer b.homesMu.Unlock()
	b.machines = append(b.machines, m)
	return m, nil
}

// demolish removes a machine without processes.
func (b *Namespaces) demolish(m *machine) {
	b.links.Lock()
	defer b.links.Unlock()
	b.homesMu.Lock()
	b.machines = slices.DeleteFunc(b.machines, func(o *machine) bool { return o == m })
	b.homesMu.Unlock()
	b.takeDown(m)
}

func (b *Namespaces) takeDown(m *machine) {
	_ = m.disk.thaw() // it may not be frozen
	cleanup(b.tb, "umount", m.disk.dir)
	cleanup(b.tb, "rm", m.disk.image)
	cleanup(b.tb, "ip", "netns", "del", m.space)
}

func (m *machine) place() testcluster.Place {
	return testcluster.Place{
		Host: m.host, DataDir: filepath.Join(m.disk.dir, "data"),
		Through: []string{"nsenter", m.net(), "--"},
	}
}

// net returns the argument of nsenter. "ip netns exec" would keep all file systems in
// use that are mounted when it starts, also those that lose their power later.
func (m *machine) net() string { return "--net=/run/netns/" + m.space }

// home returns the machine of a node.
func (b *Namespaces) home(n *testcluster.Node) *machine {
	b.homesMu.Lock()
	defer b.homesMu.Unlock()
	return b.homes[n]
}

// all returns the existing machines.
func (b *Namespaces) all() []*machine {
	b.homesMu.Lock()
	defer b.homesMu.Unlock()
	return slices.Clone(b.machines)
}

// Add is Members.
func (b *Namespaces) Add(id string) (*testcluster.Node, error) {
	m, err := b.build()
	if err != nil {
		return nil, err
	}
	n := b.add(id, m.place())
	b.homesMu.Lock()
	defer b.homesMu.Unlock()
	b.homes[n] = m
	return n, nil
}

// Forget is Members.
func (b *Namespaces) Forget(n *testcluster.Node) error {
	if err := b.Processes.Forget(n); err != nil {
		return err
	}
	b.demolish(b.home(n))
	b.homesMu.Lock()
	defer b.homesMu.Unlock()
	delete(b.homes, n)
	return nil
}

// host returns an address of 10.213.0.0/16. Its third byte depends on the process, so
// that concurrent runs have different addresses.
func (b *Namespaces) host(i int) string { return fmt.Sprintf("10.213.%d.%d", b.id%250, i) }

// makeSwitch makes a bridge in a namespace of its own, to which the machine's firewall
// rules do not apply, and connects this process's namespace to it.
func (b *Namespaces) makeSwitch(tb testing.TB) error {
	name, veth := b.hub(), fmt.Sprintf("%s%dr", prefix, b.id)
	if err := run("ip", "netns", "add", name); err != nil {
		return fmt.Errorf("%w: %w", err, ErrCannot)
	}
	tb.Cleanup(func() { cleanup(tb, "ip", "netns", "del", name) })
	err := lines(
		"ip -n "+name+" link add br0 type bridge",
		"ip -n "+name+" link set br0 up",
		"ip link add "+veth+" type veth peer name root netns "+name,
	)
	if err != nil {
		return err
	}
	// The kernel removes the links of a deleted namespace some time later, and the next
	// cluster of this process needs the name and the addresses at once.
	tb.Cleanup(func() { cleanup(tb, "ip", "link", "del", veth) })
	return lines(
		"ip -n "+name+" link set root master br0 up",
		"ip addr add "+b.host(254)+"/24 dev "+veth,
		"ip link set "+veth+" up",
	)
}

// hub returns the name of the namespace with the bridge.
func (b *Namespaces) hub() string { return fmt.Sprintf("%ss-%d", prefix, b.id) }

// space makes a network namespace with a firewall that accepts all packets.
func (b *Namespaces) space(m *machine) error {
	name, veth, enter := m.space, fmt.Sprintf("v%d", m.number), "nsenter "+m.net()
	return lines(
		"ip netns add "+name,
		"ip -n "+name+" link add eth0 type veth peer name "+veth+" netns "+b.hub(),
		"ip -n "+b.hub()+" link set "+veth+" master br0 up",
		"ip -n "+name+" addr add "+m.host+"/24 dev eth0",
		"ip -n "+name+" link set eth0 up",
		"ip -n "+name+" link set lo up",
		enter+" nft add table inet chaos",
		enter+" nft add chain inet chaos in { type filter hook input priority 0 ; }",
	)
}
