package backend

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"

	"quorate/testing/testcluster"
)

// mount is a file system in a file.
type mount struct{ dir, image string }

// diskSize is enough for the log of a long run, and quick to fill.
const diskSize = 512 << 20

// The calls of the file system, from linux/fs.h and ext4.h.
const (
	freeze       = 0xC0045877
	thaw         = 0xC0045878
	shutdown     = 0x8004587d
	withoutFlush = 2
)

// PowerLoss is Disks: it shuts the file system down without writing dirty pages, ends the
// process, and mounts the file system again as after a crash.
func (b *Namespaces) PowerLoss(n *testcluster.Node) error {
	m := b.home(n).disk
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
	// While a process still uses the file system, a mount would return the one that was
	// shut down.
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		devices, err := output("losetup", "--associated", m.image)
		if err != nil {
			return err
		}
		if devices == "" {
			return m.mount()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is still in use: %s", m.image, devices)
		}
	}
}

// Hang is Disks.
func (b *Namespaces) Hang(n *testcluster.Node) error { return b.home(n).disk.ioctl(freeze, 0) }

// Thaw is Disks.
func (b *Namespaces) Thaw(n *testcluster.Node) error { return b.home(n).disk.thaw() }

// Fill is Disks.
func (b *Namespaces) Fill(n *testcluster.Node) error {
	m := b.home(n).disk
	var fs syscall.Statfs_t
	if err := syscall.Statfs(m.dir, &fs); err != nil {
		return err
	}
	// This also uses the blocks that are reserved for root, the last ones in small steps.
	path := filepath.Join(m.dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close() // only its size matters
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
	return os.Remove(filepath.Join(b.home(n).disk.dir, "filler"))
}

func (m mount) make() error {
	f, err := os.Create(m.image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close()); err != nil {
		return err
	}
	return errors.Join(run("mkfs.ext4", "-q", "-F", "-m", "0", m.image), os.Mkdir(m.dir, 0o700), cannot(m.mount()))
}

func (m mount) mount() error { return run("mount", "-o", "loop", m.image, m.dir) }

func (m mount) thaw() error { return m.ioctl(thaw, 0) }

func (m mount) ioctl(call, arg uintptr) error {
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

// cannot wraps ErrCannot, for what a machine does not allow, such as loop devices.
func cannot(err error) error {
	if err != nil {
		err = fmt.Errorf("%w: %w", err, ErrCannot)
	}
	return err
}
