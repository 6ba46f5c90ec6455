package backend

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"quorate/testing/testcluster"
)

// Namespaces are nodes with an address and a disk each: network namespaces on
// one bridge, and file systems on loop devices. It wants root, ip, nft, nsenter
// and mkfs.ext4.
type Namespaces struct {
	*Processes
	id     int
	mounts map[*testcluster.Node]*mount
}

type mount struct{ dir, image string }

// diskSize leaves room for the log of a long run, and little to fill.
const diskSize = 512 << 20

// NewNamespaces starts n nodes.
func NewNamespaces(tb testing.TB, n int, program Program) (*Namespaces, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("namespaces: not root: %w", ErrCannot)
	}
	for _, tool := range []string{"ip", "nft", "nsenter", "mkfs.ext4", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("namespaces: no %s: %w", tool, ErrCannot)
		}
	}
	b := &Namespaces{id: os.Getpid() % 200, mounts: map[*testcluster.Node]*mount{}}
	if err := b.makeSwitch(tb); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrCannot)
	}
	dir := tb.TempDir()
	var places []testcluster.Place
	var mounts []*mount
	for i := range n {
		if err := b.space(tb, i); err != nil {
			return nil, err
		}
		m := &mount{dir: filepath.Join(dir, fmt.Sprint("disk", i+1)), image: filepath.Join(dir, fmt.Sprint("disk", i+1, ".ext4"))}
		if err := m.make(); err != nil {
			return nil, fmt.Errorf("%w: %w", err, ErrCannot)
		}
		mounts = append(mounts, m)
		places = append(places, testcluster.Place{
			Host: b.host(i + 1), DataDir: filepath.Join(m.dir, "data"),
			Through: []string{"nsenter", "--net=/run/netns/" + b.space1(i), "--"},
		})
	}
	// After the processes are gone, so before they are started.
	tb.Cleanup(func() {
		for _, m := range mounts {
			_ = m.thaw() // it may not be frozen
			cleanup(tb, "umount", m.dir)
		}
	})
	c := testcluster.NewAt(tb, places)
	for i, node := range c.Nodes {
		b.mounts[node] = mounts[i]
	}
	b.Processes = processes(tb, "namespaces", c, program)
	return b, nil
}

func (b *Namespaces) host(i int) string   { return fmt.Sprintf("10.213.%d.%d", b.id, i) }
func (b *Namespaces) space1(i int) string { return fmt.Sprintf("qch%dn%d", b.id, i+1) }
func (b *Namespaces) in(n *testcluster.Node) string {
	return b.space1(b.at(n))
}

func (b *Namespaces) address(n *testcluster.Node) string { return b.host(b.at(n) + 1) }

// makeSwitch makes a bridge in a namespace of its own, where no rule of the
// machine's firewall sees what passes, and joins this process's namespace to it.
func (b *Namespaces) makeSwitch(tb testing.TB) error {
	name, veth := b.hub(), fmt.Sprintf("qch%dr", b.id)
	if err := run("ip", "netns", "add", name); err != nil {
		return err
	}
	tb.Cleanup(func() { cleanup(tb, "ip", "netns", "del", name) })
	return lines(
		"ip -n "+name+" link add br0 type bridge",
		"ip -n "+name+" link set br0 up",
		"ip link add "+veth+" type veth peer name root netns "+name,
		"ip -n "+name+" link set root master br0 up",
		"ip addr add "+b.host(254)+"/24 dev "+veth,
		"ip link set "+veth+" up",
	)
}

// hub is the name of the namespace with the bridge.
func (b *Namespaces) hub() string { return fmt.Sprintf("qch%ds", b.id) }

// space makes a network namespace with a firewall that lets all pass.
func (b *Namespaces) space(tb testing.TB, i int) error {
	name, veth := b.space1(i), fmt.Sprintf("qch%dv%d", b.id, i+1)
	if err := run("ip", "netns", "add", name); err != nil {
		return err
	}
	tb.Cleanup(func() { cleanup(tb, "ip", "netns", "del", name) })
	return lines(
		"ip -n "+name+" link add eth0 type veth peer name "+veth+" netns "+b.hub(),
		"ip -n "+b.hub()+" link set "+veth+" master br0 up",
		"ip -n "+name+" addr add "+b.host(i+1)+"/24 dev eth0",
		"ip -n "+name+" link set eth0 up",
		"ip -n "+name+" link set lo up",
		"ip netns exec "+name+" nft add table inet chaos",
		"ip netns exec "+name+" nft add chain inet chaos in { type filter hook input priority 0 ; }",
	)
}

// Directed is Network.
func (b *Namespaces) Directed() bool { return true }

// Cut is Network: the receiver drops.
func (b *Namespaces) Cut(from, to *testcluster.Node) error {
	return run("ip", "netns", "exec", b.in(to), "nft", "add", "rule", "inet", "chaos", "in", "ip", "saddr", b.address(from), "drop")
}

// Isolate is Network.
func (b *Namespaces) Isolate(n *testcluster.Node) (err error) {
	for _, other := range b.Cluster.Nodes {
		if other != n {
			err = errors.Join(err, b.Cut(n, other), b.Cut(other, n))
		}
	}
	return err
}

// Lose is Network. Clients' packets are not lost.
func (b *Namespaces) Lose(to *testcluster.Node, percent int) (err error) {
	for _, other := range b.Cluster.Nodes {
		if other != to {
			err = errors.Join(err, run("ip", "netns", "exec", b.in(to), "nft", "add", "rule", "inet", "chaos", "in",
				"ip", "saddr", b.address(other), "numgen", "random", "mod", "100", "<", fmt.Sprint(percent), "drop"))
		}
	}
	return err
}

// Mend is Network.
func (b *Namespaces) Mend() (err error) {
	for i := range b.Cluster.Nodes {
		err = errors.Join(err, run("ip", "netns", "exec", b.space1(i), "nft", "flush", "chain", "inet", "chaos", "in"))
	}
	return err
}

// The calls of the file system, from linux/fs.h and ext4.h.
const (
	freeze       = 0xC0045877
	thaw         = 0xC0045878
	shutdown     = 0x8004587d
	withoutFlush = 2
)

// PowerLoss is Disks: the file system stops at once, without writing what it
// holds in memory, then the process is ended and the file system is mounted
// again as after a crash.
func (b *Namespaces) PowerLoss(n *testcluster.Node) error {
	m := b.mounts[n]
	flags := uint32(withoutFlush)
	if err := m.ioctl(shutdown, uintptr(unsafe.Pointer(&flags))); err != nil {
		return err
	}
	if err := b.Kill(n); err != nil {
		return err
	}
	if err := run("umount", m.dir); err != nil {
		return err
	}
	return m.mount()
}

// Hang is Disks.
func (b *Namespaces) Hang(n *testcluster.Node) error { return b.mounts[n].ioctl(freeze, 0) }

// Thaw is Disks.
func (b *Namespaces) Thaw(n *testcluster.Node) error { return b.mounts[n].thaw() }

// Fill is Disks.
func (b *Namespaces) Fill(n *testcluster.Node) error {
	m := b.mounts[n]
	var fs syscall.Statfs_t
	if err := syscall.Statfs(m.dir, &fs); err != nil {
		return err
	}
	// What root may use beyond the rest goes too; the last blocks in small steps.
	path := filepath.Join(m.dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close() // what matters is the room that it takes
	at := int64(0)
	for step := int64(fs.Bfree) * fs.Bsize; step >= 4096; {
		if err := syscall.Fallocate(int(f.Fd()), 0, at, step); err != nil {
			step /= 2
			continue
		}
		at += step
	}
	return nil
}

// Free is Disks.
func (b *Namespaces) Free(n *testcluster.Node) error {
	return os.Remove(filepath.Join(b.mounts[n].dir, "filler"))
}

func (m *mount) make() error {
	f, err := os.Create(m.image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close()); err != nil {
		return err
	}
	return errors.Join(run("mkfs.ext4", "-q", "-F", "-m", "0", m.image), os.Mkdir(m.dir, 0o700), m.mount())
}

func (m *mount) mount() error { return run("mount", "-o", "loop", m.image, m.dir) }

func (m *mount) thaw() error { return m.ioctl(thaw, 0) }

func (m *mount) ioctl(call, arg uintptr) error {
	dir, err := os.Open(m.dir)
	if err != nil {
		return err
	}
	defer dir.Close() // only read
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), call, arg); errno != 0 {
		return fmt.Errorf("ioctl %x of %s: %w", call, m.dir, errno)
	}
	return nil
}
