package main

import "syscall"

// bound returns attributes with which a process is killed when this one exits, and does
// not receive Ctrl-C itself: that would be a second signal to a node that dev is already
// stopping.
func bound() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
