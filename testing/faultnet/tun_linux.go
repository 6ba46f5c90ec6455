package faultnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// tunName is of the device in each namespace. A second Net of one namespace finds
// it taken.
const tunName = "late0"

// tun is the device of a place. It is gone, with the routes to it, once the file
// is closed or this process has ended.
type tun struct {
	Place
	file *os.File
	mtu  int // of the device whose packets it takes
}

// openTun makes the device of a place, which is down.
func openTun(p Place) (*tun, error) {
	t := &tun{Place: p}
	err := within(p.Space, func() (err error) {
		if t.mtu, err = mtuOf(p.Address); err != nil {
			return err
		}
		t.file, err = makeTun()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make a TUN device in %s: %w: %w", p.Space, err, ErrCannot)
	}
	return t, nil
}

// makeTun makes a device in the namespace of the thread.
func makeTun() (*os.File, error) {
	const path = "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	req, err := unix.NewIfreq(tunName)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI) // packets as they are, nothing before them
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("TUNSETIFF %s: %w", tunName, err), unix.Close(fd))
	}
	// Only now, since a file without its device cannot be waited for.
	return os.NewFile(uintptr(fd), path), nil
}

// mtuOf returns what the device with an address carries at most.
func mtuOf(a netip.Addr) (int, error) {
	all, err := net.Interfaces()
	if err != nil {
		return 0, err
	}
	for _, i := range all {
		addresses, err := i.Addrs()
		if err != nil {
			return 0, err
		}
		for _, has := range addresses {
			if prefix, err := netip.ParsePrefix(has.String()); err == nil && prefix.Addr() == a {
				return i.MTU, nil
			}
		}
	}
	return 0, fmt.Errorf("no device has the address %s", a)
}

// within calls fn on a thread that is in a network namespace meanwhile. What fn
// opens there stays there; goroutines that it starts are elsewhere.
func within(space string, fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err, back := enter(space, fn)
		done <- err
		// A thread that could not be brought back ends with this goroutine.
		if back {
			runtime.UnlockOSThread()
		}
	}()
	return <-done
}

func enter(space string, fn func() error) (err error, back bool) {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err, true
	}
	defer home.Close() // only read
	there, err := os.Open(filepath.Join("/run/netns", space))
	if err != nil {
		return err, true
	}
	defer there.Close() // only read
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the namespace %s: %w", space, err), true
	}
	err = fn()
	if failed := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); failed != nil {
		return errors.Join(err, fmt.Errorf("leave the namespace %s: %w", space, failed)), false
	}
	return err, true
}
